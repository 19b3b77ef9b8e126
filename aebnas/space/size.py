"""The exact number of architectures (and of architecture-policy pairs) in a space.

Counted stage by stage (or cell by cell) as polynomials whose k-th coefficient is the number of ways with k exits,
since the number of policies depends on how many exits there are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from aebnas.space.choices import blocks, branch_layers
from aebnas.space.dag import DagSpec
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
    if spec.dag is not None:
        return _multiply(ways, _cell_ways(spec, spec.dag))
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


def _cell_ways(spec: SpaceSpec, dag: DagSpec) -> Ways:
    """Ways of all cells and their exits, and of the stacks' widths."""
    ways = [math.prod(len(stack.width) for stack in dag.stacks)]
    inside: dict[int, dict[int, Site]] = {cell: {} for cell in range(len(dag.stack_of))}
    for site in spec.sites():
        if site.block is None:
            ways = _multiply(ways, _exit_ways(spec, site))
        else:
            inside[site.stage][site.block] = site
    for sites in [inside[0]] if dag.shared else inside.values():
        ways = _multiply(ways, _ways_of_a_cell(spec, dag, sites))
    return ways


def _ways_of_a_cell(spec: SpaceSpec, dag: DagSpec, sites: Mapping[int, Site]) -> Ways:
    """Ways of one cell with exits at some of its nodes, over all sets of live nodes.

    Every live node but the input has an edge from a live one, and every one without exit, but the last, leads to a live
    one; the latter by inclusion and exclusion over the nodes that lead nowhere.
    """
    inner, total = range(1, dag.nodes), [0]
    for live in _subsets(inner) if dag.may_be_absent else [tuple(inner)]:
        branches = {node: _exit_ways(spec, sites[node]) for node in live if node in sites}
        for leaving in _subsets(branches):
            ways = [1]
            for node, (without, with_exit) in branches.items():
                ways = _multiply(ways, [0, with_exit] if node in leaving else [without])
            leads_on = [node for node in live if node not in leaving]
            total = _add(total, _multiply(ways, [_edge_ways(dag, {0, *live, dag.nodes}, leads_on)]))
    return total


def _edge_ways(dag: DagSpec, live: set[int], leads_on: Sequence[int]) -> int:
    """Ways of edges among live nodes with one at least into each but 0 and out of those that must lead on."""
    ops = len(dag.present)
    if not dag.may_be_absent:
        return ops ** len(dag.pairs)
    total = 0
    for silent in _subsets(leads_on):
        into = [len([s for s in dag.sources(node) if s in live and s not in silent]) for node in live if node]
        total += (-1) ** len(silent) * math.prod((1 + ops) ** count - 1 for count in into)
    return total


def _subsets(items: Iterable[int]) -> list[tuple[int, ...]]:
    several = list(items)
    return [subset for size in range(len(several) + 1) for subset in combinations(several, size)]


def _exit_ways(spec: SpaceSpec, site: Site) -> Ways:
    return [1 if spec.branch(site).optional else 0, count_branches(spec, site)]


def count_branches(spec: SpaceSpec, site: Site) -> int:
    """How many branches the exit at a site can have."""
    choices = spec.branch(site)
    layers = len(branch_layers(choices))
    return len(choices.pool) * sum(layers**depth for depth in choices.depth)


def _multiply(a: Ways, b: Ways) -> Ways:
    return list(np.polynomial.polynomial.polymul(np.array(a, dtype=object), np.array(b, dtype=object)))


def _add(a: Ways, b: Ways) -> Ways:
    length = max(len(a), len(b))
    return [(a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) for i in range(length)]
