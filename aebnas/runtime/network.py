"""A plain early-exit network built from a Graph, with hard exits that save real work.

Legend: n samples, c classes, e exits.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .choice import Choice
from .decide import ExitPolicy, Streak
from .graph import INPUT, Graph, Node
from .ops import OPAQUE, OPS


class Answer(NamedTuple):
    """What hard-exit inference gives: `logits [n, c]` of the exit taken, and that `exit_index [n]` (from 0)."""

    logits: Tensor
    exit_index: Tensor


class Outputs(NamedTuple):
    """Of every exit the `logits [n, c]`, shallow to deep, and the outputs `[n]` of those stop heads that there are.

    `chosen` says of every `choice` node which candidate each sample was given, int64 `[n]`.
    """

    logits: list[Tensor]
    stop_logits: list[Tensor]
    chosen: dict[str, Tensor]


class Network(nn.Module):
    """Static early-exit module. `forward` runs every exit (training, tables); `infer` stops for real.

    `opaque` holds the modules of the Graph's `module` nodes by node name; a missing or surplus one raises
    ValueError.
    """

    def __init__(self, graph: Graph, opaque: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        opaque = opaque or {}
        wanted = {node.name for node in graph.nodes if node.op == OPAQUE}
        if wanted != set(opaque):
            raise ValueError(f"opaque modules must be {sorted(wanted)}, but got {sorted(opaque)}")
        self.graph = graph
        self.nodes = nn.ModuleDict(
            {n.name: opaque[n.name] if n.op == OPAQUE else OPS[n.op].build(**n.kwargs) for n in graph.nodes}
        )
        self._segments = graph.segments()
        self._needed_after = _needed_after_each_exit(graph)

    def forward(self, x_nchw: Tensor) -> list[Tensor]:
        """Logits `[n, c]` of every exit, shallow to deep."""
        return self.outputs(x_nchw).logits

    def outputs(self, x_nchw: Tensor) -> Outputs:
        """Logits of every exit and the outputs of stop heads."""
        values = {INPUT: x_nchw}
        for node in self.graph.nodes:
            values[node.name] = self._run(node, values)
        return Outputs(
            [values[graph_exit.output] for graph_exit in self.graph.exits],
            [values[graph_exit.stop][:, 0] for graph_exit in self.graph.exits if graph_exit.stop],
            {node.name: self._chosen(node, values) for node in self.graph.nodes if node.op == "choice"},
        )

    @torch.no_grad()
    def infer(self, x_nchw: Tensor, policy: ExitPolicy, alpha_n: Tensor | None = None) -> Answer:
        """Hard-exit inference: after each exit only the samples still undecided go on (batch compaction).

        For one sample this means that layers behind its exit don't run. Branches of `never` exits don't run.
        `alpha_n` is the pictures' difficulty, float32, for a policy that looks at it. Raises ValueError when the policy
        was made for another number of exits, or looks at what there isn't.
        """
        if len(policy.thresholds) != len(self._segments) - 1:
            got, want = len(policy.thresholds), len(self._segments) - 1
            raise ValueError(f"the policy must have {want} thresholds, but got {got}")
        if policy.difficulty is not None and alpha_n is None:
            raise ValueError("the policy needs the pictures' difficulty, but got none")
        streak: Streak | None = None
        running = torch.arange(len(x_nchw), device=x_nchw.device)
        exit_index = torch.full_like(running, len(self._segments) - 1)
        logits_nc = torch.empty(len(x_nchw), self.graph.classes, device=x_nchw.device)
        values = {INPUT: x_nchw}
        for index, segment in enumerate(self._segments):
            if not len(running):
                break
            for node in segment.backbone:
                values[node.name] = self._run(node, values)
            if not policy.runs(index):
                continue
            for node in segment.branch:
                values[node.name] = self._run(node, values)
            graph_exit = self.graph.exits[index]
            answer = values[graph_exit.output].float()
            if index == len(self._segments) - 1:
                stop = torch.ones_like(running, dtype=torch.bool)
            else:
                stop_logit_n = values[graph_exit.stop][:, 0] if graph_exit.stop else None
                said = policy.said(index, answer, stop_logit_n, None if alpha_n is None else alpha_n[running])
                stop, streak = policy.stops(index, said, streak)
            values = {name: value for name, value in values.items() if name in self._needed_after[index]}
            leaving = int(stop.sum())
            if leaving == 0:  # nothing is to be written or copied, which for one sample is most of a decision's time
                continue
            if leaving == len(running) == len(x_nchw):
                return Answer(answer, exit_index.fill_(index))
            logits_nc[running[stop]] = answer[stop]
            exit_index[running[stop]] = index
            go_on = ~stop
            running = running[go_on]
            streak = None if streak is None else streak.of(go_on)
            values = {name: value[go_on] for name, value in values.items()}
        return Answer(logits_nc, exit_index)

    def _chosen(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        choice = self.nodes[node.name]
        assert isinstance(choice, Choice)
        return choice.chosen(values[node.inputs[1]])

    def _run(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        return self.nodes[node.name](*(values[name] for name in node.inputs))


def _needed_after_each_exit(graph: Graph) -> list[set[str]]:
    """For each exit, the names whose values later segments read: all that has to be compacted and kept."""
    segments = graph.segments()
    needed: list[set[str]] = []
    for index in range(len(segments)):
        later = [node for segment in segments[index + 1 :] for part in segment for node in part]
        made_later = {node.name for node in later}
        read_later = {name for node in later for name in node.inputs}
        later_exits = graph.exits[index + 1 :]
        read_later |= {name for later in later_exits for name in (later.output, later.stop) if name}
        needed.append(read_later - made_later)
    return needed
