"""The exact number of architectures (and of architecture-policy pairs) in a space.

Counted for each part of the backbone by polynomials whose k-th coefficient is the number of ways with k exits, since
the number of policies depends on the number of exits.
"""

from functools import partial

from aebnas.space.architecture import Site
from aebnas.space.choices import branch_layers
from aebnas.space.polynomials import Ways, multiply
from aebnas.space.spec import SpaceSpec


def count_architectures(spec: SpaceSpec) -> int:
    """Number of distinct architectures (distinct ids) of the space."""
    return sum(_ways_by_exits(spec))


def count_candidates(spec: SpaceSpec) -> int:
    """Number of distinct candidates: that of architectures unless thresholds are genes."""
    genes = spec.policy.thresholds.genes
    if genes is None:
        return count_architectures(spec)
    total = 0
    for exits, ways in enumerate(_ways_by_exits(spec)):
        all_never = 1 if exits == 0 or "never" in genes else 0  # all criteria are equal there
        total += ways * ((len(genes) ** exits - all_never) * len(spec.policy.criterion) + all_never)
    return total


def may_lack_exits(spec: SpaceSpec) -> bool:
    """Whether some architecture of the space has no early exit."""
    return all(spec.branch(site).optional for site in spec.sites()) or _ways_by_exits(spec)[0] > 0


def _ways_by_exits(spec: SpaceSpec) -> Ways:
    ways = [len(spec.input.resolution) * len(spec.stem.width) * len(spec.stem.act)]
    without, *with_exits = multiply(ways, spec.layout.ways(spec.sites(), partial(_exit_ways, spec)))
    return [without, *(count * len(spec.exits.boosted) for count in with_exits)]


def _exit_ways(spec: SpaceSpec, site: Site) -> Ways:
    return [1 if spec.branch(site).optional else 0, count_branches(spec, site)]


def count_branches(spec: SpaceSpec, site: Site) -> int:
    """Number of distinct branches that the exit at a site may have."""
    choices = spec.branch(site)
    layers = len(branch_layers(choices))
    return len(choices.pool) * sum(layers**depth for depth in choices.depth)
