"""Exact lower and upper bounds of a cost over a whole space, by dynamic programming over the parts of its backbone.

The state between parts, and between the layers of a branch, is the shape of the map; the value is the minimum
(maximum) cost up to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from aebnas.cost.bounds.dag_bounds import dag_walk
from aebnas.cost.bounds.staged_bounds import staged_walk
from aebnas.cost.bounds.walk_costs import Best, WalkCosts, keep_best
from aebnas.cost.energy_model import EnergyModel
from aebnas.cost.latency.measured_device import AdditiveLatency
from aebnas.cost.layer_population import LayerCost, counted
from aebnas.runtime.cost_rules import Counts
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Site
from aebnas.space.branch_layers import boost_key, branch_heads, branch_steps, stop_head_layer
from aebnas.space.cell_layers import sum_key
from aebnas.space.dag_backbone import DagBackbone
from aebnas.space.layer import Layer
from aebnas.space.spec import SpaceSpec
from aebnas.space.staged import StagedBackbone

Measure = Callable[[Counts], int]
Walk = Callable[[SpaceSpec, WalkCosts, Best], tuple[float, float]]
WALKS: dict[str, Walk] = {StagedBackbone.kind: staged_walk, DagBackbone.kind: dag_walk}
"""Kind of backbone -> the function that computes bounds over it."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of one cost over a space.

    `lower`, `upper`: of the whole network with all its branches (metrics `macs`, `params`, `weight_bytes`).
    `first_exit`: the minimum cost of a sample over all architectures, so no average can be below it.
    """

    lower: float
    upper: float
    first_exit: float


def space_bounds(spec: SpaceSpec, measure: Measure, stop_heads: bool = False) -> Bounds:
    """Bounds of `measure` (such as `lambda c: c.macs`) over all architectures of the space; whole numbers.

    `stop_heads` (here and below): every early exit is counted with a stop head.
    """
    return _bounds(spec, stop_heads, counted(measure))


def latency_bounds(spec: SpaceSpec, latency: AdditiveLatency, stop_heads: bool = False) -> Bounds:
    """Bounds of a latency in ms that is a sum over layers; raises UserError for a layer that its profile lacks."""
    return _bounds(spec, stop_heads, *latency)


def energy_bounds(spec: SpaceSpec, model: EnergyModel, stop_heads: bool = False) -> Bounds:
    """Bounds of the modelled energy in mJ."""
    return _bounds(spec, stop_heads, model.cost_mj)


def _bounds(
    spec: SpaceSpec, stop_heads: bool, layer_cost: LayerCost, each_run: float = 0, each_exit: float = 0
) -> Bounds:
    known = cache(layer_cost)
    lower, first_exit = _walk(spec, known, each_exit, stop_heads, min)
    upper, _ = _walk(spec, known, each_exit, stop_heads, max)
    return Bounds(each_run + lower, each_run + upper, each_run + first_exit)


def _walk(
    spec: SpaceSpec, layer_cost: LayerCost, each_exit: float, stop_heads: bool, best: Best
) -> tuple[float, float]:
    """(best cost of a whole network, best cost from the input to the output of the first exit taken)."""

    def cost(layer: Layer) -> float:
        return layer_cost(layer.key)

    def sum_cost(shape: Shape, count: int) -> float:
        return layer_cost(sum_key(shape, count))

    def branch_cost(site: Site, shape: Shape) -> float:
        stop_head = cost(stop_head_layer(site, shape)) if stop_heads else 0
        return best_branch(site, shape) + each_exit + stop_head

    @cache
    def best_branch(site: Site, shape: Shape) -> float:
        ends: list[float] = []
        so_far: dict[Shape, float] = {shape: 0}
        for index in range(max(spec.branch(site).depth) + 1):
            after: dict[Shape, float] = {}
            for at, value in so_far.items():
                ends += [value + cost(head) for head in branch_heads(spec, site, index, at)]
                for chain in branch_steps(spec, site, index, at, shape[0]):
                    keep_best(best, after, chain[-1].out_shape, value + sum(map(cost, chain)))
            so_far = after
        return best(ends)

    sums_of_logits = layer_cost(boost_key(spec.classes)) if True in spec.exits.boosted and spec.sites() else 0
    boost = best([sums_of_logits if boosted else 0 for boosted in spec.exits.boosted])

    def passed(site: Site, shape: Shape) -> float:
        forced = False not in spec.exits.boosted and not spec.branch(site).optional
        return best_branch(site, shape) + boost if forced else 0

    return WALKS[spec.layout.kind](spec, WalkCosts(cost, branch_cost, sum_cost, passed, each_exit, boost), best)
