"""FLOP of the training steps of a Network."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from aebnas.runtime.graph import Node
from aebnas.runtime.network import Network
from aebnas.runtime.shape_rules import Shape
from aebnas.training.compute.graph_flop import running, step_flop


class _Step(NamedTuple):
    images: int
    shape: Shape
    active: tuple[bool, ...] | None
    frozen: frozenset[str]
    chosen: Mapping[str, Tensor]


class NetworkFlop:
    """Counts the steps of `network`: `ran` is called for the forward pass of each.

    `stop_heads` is whether the loss depends on its stop heads, if it has any, in steps in which all exits take part.
    """

    def __init__(self, network: Network, stop_heads: bool) -> None:
        self.network, self.stop_heads = network, stop_heads
        self._parameters = list(network.nodes.named_parameters())  # once, since that takes longer than the rest
        self._step: _Step | None = None
        self._known: dict[tuple[Shape, tuple[bool, ...] | None, frozenset[str]], float] = {}

    def ran(
        self, x_nchw: Tensor, chosen: Mapping[str, Tensor] | None = None, active: Sequence[bool] | None = None
    ) -> None:
        """A forward pass on `x_nchw`, in which the exits `active` (`[e]`; None: all) took part and the others' branches
        didn't run; `chosen` as in `network.Outputs` (None: the most expensive candidates are charged)."""
        images, channels, height, width = x_nchw.shape
        frozen = frozenset(name for name, p in self._parameters if not p.requires_grad)
        on = None if active is None or all(active) else tuple(active)
        self._step = _Step(images, (channels, height, width), on, frozen, chosen or {})

    def flop(self) -> float:
        """FLOP of the last step, its backward pass included; 0 before the first."""
        step = self._step
        if step is None:
            return 0.0
        key = step.shape, step.active, step.frozen
        if step.chosen:  # the candidates that ran differ between steps
            return step.images * self._per_image(step)
        if key not in self._known:
            self._known[key] = self._per_image(step)
        return step.images * self._known[key]

    def _per_image(self, step: _Step) -> float:
        graph = self.network.graph

        def frozen(node: Node) -> frozenset[str]:
            start = f"{node.name}."
            return frozenset(name.removeprefix(start) for name in step.frozen if name.startswith(start))

        candidates = {node.name: len(node.candidates()) for node in graph.nodes if node.name in step.chosen}
        shares = {
            name: (step.chosen[name].bincount(minlength=count) / step.images).tolist()
            for name, count in candidates.items()
        }
        in_loss = self.stop_heads and step.active is None
        return step_flop(running(graph, step.active, in_loss, step.shape), frozen, shares)
