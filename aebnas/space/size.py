"""The exact number of architectures (and of architecture-policy pairs) in a space.

Counted stage by stage as polynomials whose k-th coefficient is the number of ways with k exits, since the
number of policies depends on how many exits there are.
"""

import math

import numpy as np

from aebnas.space.choices import blocks, branch_layers
from aebnas.space.fields import SKIP
from aebnas.space.spec import Site, SpaceSpec, StageSpec

Ways = list[int]
"""Ways by number of exits; Python integers, since spaces outgrow 64 bits."""


def count_architectures(spec: SpaceSpec) -> int:
    """How many distinct architectures (distinct ids) the space holds."""
    return sum(_ways_by_exits(spec))


def count_candidates(spec: SpaceSpec) -> int:
    """How many distinct candidates: the same as architectures unless thresholds are genes."""
    genes = spec.policy.thresholds.genes
    if genes is None:
        return count_architectures(spec)
    total = 0
    for exits, ways in enumerate(_ways_by_exits(spec)):
        all_never = 1 if exits == 0 or "never" in genes else 0  # the criterion doesn't matter there
        total += ways * ((len(genes) ** exits - all_never) * len(spec.policy.criterion) + all_never)
    return total


def _ways_by_exits(spec: SpaceSpec) -> Ways:
    ways = [len(spec.input.resolution) * len(spec.stem.width) * len(spec.stem.act)]
    for number, stage in enumerate(spec.stages):
        sites = [site for site in spec.sites() if site.stage == number]
        here: Ways = [0]
        for depth in reachable_depths(stage):
            term = [math.prod(len(blocks(stage.at(position))) for position in range(depth))]
            for site in sites:
                if site.block is None or site.block < depth:
                    term = _multiply(term, _exit_ways(spec, site))
            here = _add(here, term)
        ways = _multiply(ways, [len(stage.width) * len(stage.stride) * count for count in here])
    return ways


def reachable_depths(stage: StageSpec) -> list[int]:
    """Numbers of blocks left after skips are taken out; all-skip stages keep one block."""
    if SKIP in stage.op:
        return list(range(1, max(stage.depth) + 1))
    return list(stage.depth)


def _exit_ways(spec: SpaceSpec, site: Site) -> Ways:
    choices = spec.branch(site)
    layers = len(branch_layers(choices))
    branches = len(choices.pool) * sum(layers**depth for depth in choices.depth)
    return [1 if choices.optional else 0, branches]


def _multiply(a: Ways, b: Ways) -> Ways:
    return list(np.polynomial.polynomial.polymul(np.array(a, dtype=object), np.array(b, dtype=object)))


def _add(a: Ways, b: Ways) -> Ways:
    length = max(len(a), len(b))
    return [(a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) for i in range(length)]
