"""A plain early-exit network built from a Graph, with hard exits that skip computation.

Legend: n samples, c classes, e exits.
"""

from collections.abc import Mapping
from itertools import compress
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .choice import Choice
from .exit_policy import ExitPolicy
from .exit_rule import Streak
from .graph import INPUT, Graph, Node
from .ops import OPAQUE, OPS


class ExitPrediction(NamedTuple):
    """The result of hard-exit inference: `logits [n, c]` of the exit taken, and that `exit_index [n]` (from 0)."""

    logits: Tensor
    exit_index: Tensor


class Outputs(NamedTuple):
    """The `logits [n, c]` of every exit, shallow to deep, and the outputs `[n]` of the stop heads, if there are any.

    `chosen` maps every `choice` node to the candidate selected for each sample, int64 `[n]`.
    """

    logits: list[Tensor]
    stop_logits: list[Tensor]
    chosen: dict[str, Tensor]


class Network(nn.Module):
    """Static early-exit module. `forward` runs every exit (training, tables); `infer` stops at the exit taken.

    `opaque` holds the modules of the Graph's `module` nodes by node name; raises ValueError for a missing or surplus
    one.
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
        self._steps = graph.schedule()
        self._choices = {node.name: node for node in graph.nodes if node.depends_on_sample}
        self._needed_after = _needed_after_each_exit(graph)

    def forward(self, x_nchw: Tensor) -> list[Tensor]:
        """Logits `[n, c]` of every exit, shallow to deep."""
        return self.outputs(x_nchw).logits

    def outputs(self, x_nchw: Tensor, active: tuple[bool, ...] | None = None) -> Outputs:
        """Logits of every exit, the outputs of stop heads and the candidates selected by `choice` nodes.

        With `active`, one bool an exit, only for those exits: what only others need doesn't run.
        """
        exits = self.graph.exits if active is None else tuple(compress(self.graph.exits, active))
        values = {INPUT: x_nchw}
        for node in self.graph.nodes_for(exits):
            values[node.name] = self._run(node, values)
        return Outputs(
            [values[graph_exit.output] for graph_exit in exits],
            [values[graph_exit.stop][:, 0] for graph_exit in exits if graph_exit.stop],
            {name: self._chosen(node, values) for name, node in self._choices.items() if name in values},
        )

    @torch.no_grad()
    def infer(self, x_nchw: Tensor, policy: ExitPolicy, alpha_n: Tensor | None = None) -> ExitPrediction:
        """Hard-exit inference: after each exit only the samples that haven't left are continued (batch compaction).

        For one sample this means that layers after its exit don't run. Branches of `never` exits don't run, except in
        boosted networks, where later exits add to their logits.
        `alpha_n` is the images' difficulty, float32, for a policy that uses it. Raises ValueError when the policy
        is for another number of exits, or needs an input that is missing.
        """
        if len(policy.thresholds) != len(self._steps) - 1:
            got, want = len(policy.thresholds), len(self._steps) - 1
            raise ValueError(f"the policy must have {want} thresholds, but got {got}")
        if policy.difficulty is not None and alpha_n is None:
            raise ValueError("the policy needs the images' difficulty, but got none")
        samples, last = x_nchw.shape[0], len(self._steps) - 1
        if not samples:
            return ExitPrediction(x_nchw.new_empty(0, self.graph.classes).float(), x_nchw.new_empty(0).long())
        single_sample = samples == 1 and policy.by_score
        streak: Streak | None = None
        running_n: Tensor | None = None  # indices of the remaining samples, once some have left
        values = {INPUT: x_nchw}
        for index, step in enumerate(self._steps):
            for node in step.always:
                values[node.name] = self._run(node, values)
            if not policy.runs(index):
                continue
            for node in step.optional:
                values[node.name] = self._run(node, values)
            graph_exit = self.graph.exits[index]
            exit_nc = values[graph_exit.output].float()
            if index == last:
                break
            stop_logit_n = values[graph_exit.stop][:, 0] if graph_exit.stop else None
            if single_sample:
                if policy.stops_single_sample(index, exit_nc, stop_logit_n):
                    break
                values = self._needed(values, index)
                continue
            stop_n, streak = policy.stops(index, policy.observe(index, exit_nc, stop_logit_n, alpha_n), streak)
            staying = (~stop_n).nonzero()[:, 0]
            if not len(staying):
                break
            values = self._needed(values, index)
            if len(staying) == len(stop_n):
                continue
            if running_n is None:
                running_n = torch.arange(samples, device=x_nchw.device)
                exit_index, logits_nc = torch.empty_like(running_n), exit_nc.new_empty(samples, exit_nc.shape[1])
            leaving_n = running_n[stop_n]
            logits_nc[leaving_n], exit_index[leaving_n] = exit_nc[stop_n], index
            running_n = running_n[staying]
            alpha_n = None if alpha_n is None else alpha_n[staying]
            streak = None if streak is None else streak.of(staying)
            values = {name: value[staying] for name, value in values.items()}
        if running_n is None:  # all left together: gathering would take half of a single sample's decision time
            return ExitPrediction(exit_nc, torch.full((samples,), index, device=x_nchw.device))
        logits_nc[running_n], exit_index[running_n] = exit_nc, index
        return ExitPrediction(logits_nc, exit_index)

    def _needed(self, values: dict[str, Tensor], exit_index: int) -> dict[str, Tensor]:
        """The values needed after an exit."""
        return {name: value for name, value in values.items() if name in self._needed_after[exit_index]}

    def _chosen(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        choice = self.nodes[node.name]
        assert isinstance(choice, Choice)
        return choice.chosen(values[node.inputs[1]])

    def _run(self, node: Node, values: dict[str, Tensor]) -> Tensor:
        return self.nodes[node.name](*(values[name] for name in node.inputs))


def _needed_after_each_exit(graph: Graph) -> list[set[str]]:
    """For each exit, the names of the values that later segments read, which have to be compacted."""
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
