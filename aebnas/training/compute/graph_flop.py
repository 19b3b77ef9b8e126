"""FLOP of a training step of a Graph, or of several that share nodes, for one image."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import NamedTuple

from aebnas.runtime.choice_rules import ZERO
from aebnas.runtime.graph import INPUT, Graph, Node
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.training.compute.layer_flop import LayerFlop, layer_flop, out_shape

Frozen = Callable[[Node], frozenset[str]]
"""The names of a node's parameters that don't train."""

Shares = Mapping[str, Sequence[float]]
"""For nodes whose op depends on the image: the share of images for which each candidate runs, by the node's name."""


def nothing_frozen(node: Node) -> frozenset[str]:
    """All parameters train."""
    return frozenset()


class Running(NamedTuple):
    """What runs in a step: nodes in topological order, the shape of each and of the input, and the names of those
    outputs that the loss depends on."""

    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    learned: frozenset[str]


def shapes_at(graph: Graph, shape: Shape) -> Mapping[str, Shape]:
    """The shapes of all nodes and the input for images of another shape."""
    return graph.shapes if shape == graph.input_shape else _resized(graph, shape)


@lru_cache(maxsize=4096)
def _resized(graph: Graph, shape: Shape) -> Mapping[str, Shape]:
    shapes = {INPUT: shape}
    for node in graph.nodes:
        shapes[node.name] = out_shape(node.op, node.attrs, [shapes[name] for name in node.inputs])
    return shapes


def running(
    graph: Graph, active: Sequence[bool] | None = None, stop_heads: bool = True, shape: Shape | None = None
) -> Running:
    """What runs when the exits `active` (None: all) take part in a step: their branches, and the backbone they need.

    Without `stop_heads` the loss doesn't depend on the stop heads, which run. `shape` is that of the images (None: the
    graph's own).
    """
    exits = graph.exits if active is None else tuple(compress(graph.exits, active))
    learned = {e.output for e in exits} | {e.stop for e in exits if e.stop and stop_heads}
    return Running(graph.nodes_for(exits), shapes_at(graph, shape or graph.input_shape), frozenset(learned))


def shared(parts: Iterable[Running]) -> Running:
    """Several graphs of one supernet as one: a node that several have in common runs once, as in
    `Supernet.forward_many`. Nodes are named by their place."""
    nodes: list[Node] = []
    shapes: dict[str, Shape] = {}
    place_of: dict[tuple[object, ...], str] = {}
    learned: set[str] = set()
    for part in parts:
        place = {INPUT: INPUT}
        shapes[INPUT] = part.shapes[INPUT]
        for node in part.nodes:
            inputs = tuple(place[name] for name in node.inputs)
            key = (node.weights, node.attrs, inputs)
            if key not in place_of:
                place_of[key] = name = str(len(nodes))
                shapes[name] = part.shapes[node.name]
                nodes.append(Node(name, node.op, inputs, node.attrs, node.weights))
            place[node.name] = place_of[key]
        learned |= {place[name] for name in part.learned}
    return Running(tuple(nodes), shapes, frozenset(learned))


def step_flop(run: Running, frozen: Frozen = nothing_frozen, shares: Shares | None = None) -> float:
    """FLOP of a training step for one image: the forward pass of all nodes, and the gradients that autograd computes.

    An op that depends on the image is charged with what ran by `shares`, else with its most expensive candidate. Raises
    UserError for an op without a cost rule.
    """
    needs = {INPUT: False}
    flops: list[tuple[Node, LayerFlop]] = []
    total = 0.0
    for node in run.nodes:
        shapes = tuple(run.shapes[name] for name in node.inputs)
        gradients = tuple(needs[name] for name in node.inputs)
        if node.depends_on_sample:
            flop = _choice_flop(node, shapes[0], gradients[0], frozen(node), (shares or {}).get(node.name))
        else:
            flop = layer_flop(node.op, node.attrs, shapes, gradients, frozen(node))
        needs[node.name] = flop.needs_gradient
        total += flop.forward
        flops.append((node, flop))
    reached = set(run.learned)
    for node, flop in reversed(flops):
        if node.name in reached and flop.needs_gradient:
            total += flop.backward
            reached.update(name for name, reaches in zip(node.inputs, flop.reaches, strict=True) if reaches)
    return total


def path_flop(
    architectures: Sequence[Architecture], shape: Shape, active: Sequence[Sequence[bool] | None] | None = None
) -> float:
    """FLOP for one image of this `shape` of a supernet's step over architectures that share a backbone path.

    `active` is, for each architecture, which exits take part (None: all).
    """
    exits = active or [None] * len(architectures)
    return step_flop(shared(running(lower(one), on, shape=shape) for one, on in zip(architectures, exits, strict=True)))


def _choice_flop(
    node: Node, shape: Shape, gradient: bool, frozen: frozenset[str], shares: Sequence[float] | None
) -> LayerFlop:
    """The mean over images of what runs in a `choice`; the controller, its second input, gets no gradient."""
    each: list[LayerFlop] = []
    for number, (candidate, (name, _)) in enumerate(zip(node.candidates(), node.kwargs["ops"], strict=True)):
        if candidate is None:
            each.append(LayerFlop(0, 0, gradient and name != ZERO, (gradient and name != ZERO,)))
        else:
            start = f"ops.{number}."
            own = frozenset(parameter.removeprefix(start) for parameter in frozen if parameter.startswith(start))
            each.append(layer_flop(candidate.op, candidate.attrs, (shape,), (gradient,), own))
    if shares is None:
        most = max(range(len(each)), key=lambda index: each[index].forward)
        shares = [float(index == most) for index in range(len(each))]
    ran = [(share, flop) for share, flop in zip(shares, each, strict=True) if share]
    return LayerFlop(
        sum(share * flop.forward for share, flop in ran),
        sum(share * flop.backward for share, flop in ran),
        any(flop.needs_gradient for _, flop in ran),
        (any(flop.reaches[0] for _, flop in ran), False),
    )
