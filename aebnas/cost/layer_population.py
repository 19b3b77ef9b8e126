"""Layers of a whole population of graphs, so that an additive cost of all is one lookup and one sum.

A cost is computed once for each distinct layer; the cost of every graph up to each of its exits is a sum of these.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aebnas.cost.counts import count_layer
from aebnas.cost.exit_costs import ExitCosts
from aebnas.runtime.cost_rules import Counts
from aebnas.runtime.graph import Graph, Node
from aebnas.runtime.op import LayerKey
from aebnas.runtime.ops import OPS
from aebnas.runtime.shape_rules import Shape

LayerCost = Callable[[LayerKey], float]
"""An additive cost of one layer, or of the sum of several maps (`add`)."""


def layer_key(graph: Graph, node: Node) -> LayerKey:
    """The layer key of a node."""
    return node.op, tuple(graph.shapes[name] for name in node.inputs), node.attrs


def out_shape(key: LayerKey) -> Shape:
    """Shape of a layer's output."""
    op, in_shapes, attrs = key
    known: dict[str, Any] = dict(attrs)
    return OPS[op].out_shape(list(in_shapes), **known)


def count_key(key: LayerKey) -> Counts:
    """MACs, parameters and normed channels of a layer."""
    op, in_shapes, attrs = key
    return count_layer(op, in_shapes[0], out_shape(key), dict(attrs))


def counted(measure: Callable[[Counts], int]) -> LayerCost:
    """The cost that `measure` reads from a layer's counts, such as `lambda counts: counts.macs`."""
    return lambda key: measure(count_key(key))


def max_candidate_cost(key: LayerKey, cost: LayerCost) -> float:
    """The cost of a layer; of one that depends on the sample, that of its costliest candidate."""
    op, in_shapes, attrs = key
    if not OPS[op].depends_on_sample:
        return cost(key)
    present = (candidate for candidate in OPS[op].candidates(op, attrs) if candidate is not None)
    return max((cost((name, in_shapes[:1], given)) for name, given in present), default=0.0)


@dataclass(frozen=True)
class Population:
    """The distinct layers of some graphs, and their positions.

    Every exit of every graph has two places, for the nodes that always run up to it and for those that run where
    samples may leave (see `graph.Step`): exit e (numbered across all graphs) has 2e and 2e + 1. `layer_i` and `place_i`
    are, for each node i, its index in `layers` and its place; `summed_i` states which run only because their network is
    boosted.
    """

    layers: tuple[LayerKey, ...]
    layer_i: np.ndarray
    place_i: np.ndarray
    summed_i: np.ndarray
    exits: tuple[int, ...]

    @classmethod
    def of(cls, graphs: Sequence[Graph]) -> "Population":
        """The population of some graphs."""
        known: dict[LayerKey, int] = {}
        layer_i, place_i, summed_i, place = [], [], [], 0
        for graph in graphs:
            summed = graph.summed_nodes()
            for step in graph.schedule():
                for nodes in step:
                    for node in nodes:
                        layer_i.append(known.setdefault(layer_key(graph, node), len(known)))
                        place_i.append(place)
                        summed_i.append(node.name in summed)
                    place += 1
        exits = tuple(len(graph.exits) for graph in graphs)
        places = np.array(layer_i, dtype=int), np.array(place_i, dtype=int), np.array(summed_i, dtype=bool)
        return cls(tuple(known), *places, exits)

    def costs(self, layer_costs: Sequence[float], each_run: float = 0.0, each_exit: float = 0.0) -> list[ExitCosts]:
        """Costs of every graph: of its layers, plus `each_run` once and `each_exit` for each exit that runs."""
        costs_i = np.asarray(layer_costs, dtype=float)[self.layer_i]
        places = 2 * sum(self.exits)
        added = np.bincount(self.place_i, costs_i, minlength=places).reshape(-1, 2)
        summed = np.bincount(self.place_i, costs_i * self.summed_i, minlength=places).reshape(-1, 2)
        found, start = [], 0
        for exits in self.exits:
            backbone, branch = added[start : start + exits].T
            backbone_e, branch_e = (each_run + np.cumsum(backbone)).tolist(), (each_exit + branch).tolist()
            summed_branches = float(summed[start : start + exits].sum())
            found.append(ExitCosts(tuple(backbone_e), tuple(branch_e), summed_branches))
            start += exits
        return found


def as_key(layer: dict[str, Any]) -> LayerKey:
    """The key of a layer in JSON."""
    attrs = {name: tuple(value) if isinstance(value, list) else value for name, value in layer["attrs"].items()}
    return layer["op"], tuple(tuple(shape) for shape in layer["in_shapes"]), tuple(sorted(attrs.items()))
