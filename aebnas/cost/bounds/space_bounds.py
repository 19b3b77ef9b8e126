"""Exact lower and upper bounds of a cost over a whole space, by dynamic programming over the stages.

The state between stages, and between the layers of a branch, is the shape of the map; the value is the least
(greatest) cost to get there. A stage offers its blocks and, at its sites, a branch or (where the exit is
optional) nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

from aebnas.cost.bounds.dag_bounds import DagCosts, dag_walk
from aebnas.cost.energy_model import EnergyModel
from aebnas.cost.latency.measured_device import AdditiveLatency
from aebnas.cost.layer_population import LayerCost, counted, sum_key
from aebnas.runtime.cost_rules import Counts
from aebnas.runtime.shape_rules import Shape
from aebnas.space.layers import (
    Layer,
    branch_heads,
    branch_steps,
    head_layer,
    input_layers,
    stage_layers,
    stem_layers,
    stop_head_layer,
)
from aebnas.space.size import reachable_depths
from aebnas.space.spec import Site, SpaceSpec

Measure = Callable[[Counts], int]
Best = Callable[..., float]
"""`min` or `max`."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of one cost over a space.

    `lower`, `upper`: of the whole network with all its branches (metrics `macs`, `params`, `weight_bytes`).
    `first_exit`: the least that any sample of any architecture pays, so no average can be below it.
    """

    lower: float
    upper: float
    first_exit: float


def space_bounds(spec: SpaceSpec, measure: Measure, stop_heads: bool = False) -> Bounds:
    """Bounds of `measure` (`lambda c: c.macs`, say) over all architectures of the space; whole numbers.

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
    """(best cost of a whole network, best cost from the input to the answer of the first exit taken)."""

    def cost(layer: Layer) -> float:
        return layer_cost(layer.key)

    def sum_cost(shape: Shape, count: int) -> float:
        return layer_cost(sum_key(shape, count))

    @cache
    def branch_cost(site: Site, shape: Shape) -> float:
        ends: list[float] = []
        so_far: dict[Shape, float] = {shape: 0}
        for index in range(max(spec.branch(site).depth) + 1):
            after: dict[Shape, float] = {}
            for at, value in so_far.items():
                ends += [value + each_exit + cost(head) for head in branch_heads(spec, site, index, at)]
                for chain in branch_steps(spec, site, index, at, shape[0]):
                    _keep(best, after, chain[-1].out_shape, value + sum(map(cost, chain)))
            so_far = after
        return best(ends) + (cost(stop_head_layer(site, shape)) if stop_heads else 0)

    if spec.dag is not None:
        return dag_walk(spec, spec.dag, DagCosts(cost, branch_cost, sum_cost, each_exit), best)
    whole: dict[Shape, float] = {}
    for resolution in spec.input.resolution:
        shape, resizing = input_layers(spec.input, resolution)
        for stem in stem_layers(spec, shape):
            _keep(best, whole, stem.out_shape, sum(map(cost, resizing)) + cost(stem))
    backbone = dict(whole)  # without any branch before
    first_exits: list[float] = []
    for number, stage in enumerate(spec.stages):
        whole_after: dict[Shape, float] = {}
        backbone_after: dict[Shape, float] = {}
        sites = [site for site in spec.sites() if site.stage == number]
        for shape, width, stride in product(whole, stage.width, stage.stride):
            positions = stage_layers(number, stage, shape, width, stride)
            after = positions[0][0].out_shape
            at_site = {site: branch_cost(site, after) for site in sites}
            added = {s: best(0, c) if spec.branch(s).optional else c for s, c in at_site.items()}
            steps = [best(map(cost, position)) for position in positions]
            for blocks in reachable_depths(stage):
                total = sum(steps[:blocks])
                active = [site for site in sites if site.block is None or site.block < blocks]
                exits = sum(added[site] for site in active)
                _keep(best, whole_after, after, whole[shape] + total + exits)
                _keep(best, backbone_after, after, backbone[shape] + total)
                first_exits += [backbone[shape] + sum(steps[: site.block or blocks]) + at_site[site] for site in active]
        whole, backbone = whole_after, backbone_after

    def head(shape: Shape) -> float:
        return each_exit + cost(head_layer(shape, spec.classes))

    best_whole = best(value + head(shape) for shape, value in whole.items())
    last_exits = [value + head(shape) for shape, value in backbone.items()]  # where all others are `never`
    return best_whole, best([*first_exits, *last_exits])


def _keep(best: Best, table: dict[Shape, float], shape: Shape, value: float) -> None:
    table[shape] = best(table[shape], value) if shape in table else value
