"""The exact number of architectures (and of architecture-policy pairs) in a space.

Counted stage by stage as polynomials whose k-th coefficient is the number of ways with k exits, since the
number of policies depends on how many exits there are.
"""

import numpy as np

from aebnas.space.spec import BRANCH_OPS_WITH_WIDTH, OPS_WITH_EXPANSION, SpaceSpec, StageSpec

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
    ways = [len(spec.stem.width)]
    branch = sum(_branch_layer_choices(spec) ** depth for depth in spec.exits.depth)
    exit_ways = [1 if spec.exits.optional else 0, branch]
    for number, stage in enumerate(spec.stages):
        sites = [site for site in spec.sites() if site.stage == number]
        here: Ways = [0]
        for blocks in reachable_depths(stage):
            active = sum(site.block is None or site.block < blocks for site in sites)
            term = [_block_choices(stage) ** blocks]
            for _ in range(active):
                term = _multiply(term, exit_ways)
            here = _add(here, term)
        ways = _multiply(ways, [len(stage.width) * len(stage.stride) * count for count in here])
    return ways


def reachable_depths(stage: StageSpec) -> list[int]:
    """Numbers of blocks left after skips are taken out; all-skip stages keep one block."""
    if "skip" in stage.op:
        return list(range(1, max(stage.depth) + 1))
    return list(stage.depth)


def _block_choices(stage: StageSpec) -> int:
    kernels = len(stage.kernel)
    ops = [op for op in stage.op if op != "skip"]
    return sum(kernels * (len(stage.expand) if op in OPS_WITH_EXPANSION else 1) for op in ops)


def _branch_layer_choices(spec: SpaceSpec) -> int:
    exits = spec.exits
    return sum(len(exits.kernel) * (len(exits.width) if op in BRANCH_OPS_WITH_WIDTH else 1) for op in exits.layer)


def _multiply(a: Ways, b: Ways) -> Ways:
    return list(np.polynomial.polynomial.polymul(np.array(a, dtype=object), np.array(b, dtype=object)))


def _add(a: Ways, b: Ways) -> Ways:
    length = max(len(a), len(b))
    return [(a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) for i in range(length)]
