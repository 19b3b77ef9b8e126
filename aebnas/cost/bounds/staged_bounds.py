"""Exact bounds of a cost over a space with a staged backbone; see `space_bounds`.

The state between stages is the shape of the map. A stage adds its blocks and, at its sites, a branch or (where the
exit is optional) nothing.
"""

from itertools import product

from aebnas.cost.bounds.walk_costs import Best, WalkCosts, keep_best
from aebnas.runtime.shape_rules import Shape
from aebnas.space.branch_layers import head_layer
from aebnas.space.input_layers import input_layers, stem_layers
from aebnas.space.spec import SpaceSpec
from aebnas.space.stage_layers import stage_layers


def staged_walk(spec: SpaceSpec, costs: WalkCosts, best: Best) -> tuple[float, float]:
    """(best cost of a whole network, best cost from the input to the output of the first exit taken)."""
    whole: dict[Shape, float] = {}
    for resolution in spec.input.resolution:
        shape, resizing = input_layers(spec.input, resolution)
        for stem in stem_layers(spec.stem, shape):
            keep_best(best, whole, stem.out_shape, sum(map(costs.layer, resizing)) + costs.layer(stem))
    backbone = dict(whole)  # with the branches that have to run alone
    first_exits: list[float] = []
    for number, stage in enumerate(spec.stages):
        whole_after: dict[Shape, float] = {}
        backbone_after: dict[Shape, float] = {}
        sites = [site for site in spec.sites() if site.stage == number]
        for shape, width, stride in product(whole, stage.width, stage.stride):
            positions = stage_layers(number, stage, shape, width, stride)
            after = positions[0][0].out_shape
            at_site = {site: costs.branch(site, after) for site in sites}
            passed = {site: costs.passed(site, after) for site in sites}
            added = {
                s: best(0, c + costs.boost) if spec.branch(s).optional else c + costs.boost for s, c in at_site.items()
            }
            steps = [best(map(costs.layer, position)) for position in positions]
            for blocks in stage.reachable_depths:
                total = sum(steps[:blocks])
                active = [site for site in sites if site.block is None or site.block < blocks]
                exits = sum(added[site] for site in active)
                keep_best(best, whole_after, after, whole[shape] + total + exits)
                before = backbone[shape]
                for site in active:
                    first_exits.append(before + sum(steps[: site.block or blocks]) + at_site[site])
                    before += passed[site]
                keep_best(best, backbone_after, after, before + total)
        whole, backbone = whole_after, backbone_after

    def head(shape: Shape) -> float:
        return costs.each_exit + costs.layer(head_layer(shape, spec.classes))

    best_whole = best(value + head(shape) for shape, value in whole.items())
    last_exits = [value + head(shape) for shape, value in backbone.items()]  # where all others are `never`
    return best_whole, best([*first_exits, *last_exits])
