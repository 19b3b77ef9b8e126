"""Selection among individuals that have several points each.

An architecture is ranked by its best operating points: after non-dominated sorting of the points of all, it has the
rank of the best front that any of its points is on; within a front it is ranked by the hypervolume that only its points
contribute (the S-metric selection of SMS-EMOA, Beume et al. 2007, extended to sets).

Legend: i individuals, k points of one individual, m objectives, p points of a front.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aebnas.core.pareto import Floats, exclusive_hypervolume, front_ranks, hypervolume

# Each objective is scaled to [0, 1] on a front; above 1, so that the front's extremes contribute as well.
REFERENCE = 1.1


@dataclass(frozen=True)
class Ranked:
    """A survivor: its index among the individuals, its front (0 is the best), its exclusive hypervolume there."""

    index: int
    rank: int
    contribution: float


def select(points_i_km: Sequence[Floats], violations_i: Sequence[float], n_survive: int) -> list[Ranked]:
    """The best `n_survive` individuals, best first (all, if there are fewer).

    An individual is feasible if it has points (`[k, m]`, minimised); infeasible ones (k = 0) follow after all
    feasible ones, sorted by violation, each with a rank of its own.
    """
    feasible = [i for i, points_km in enumerate(points_i_km) if len(points_km)]
    survivors = _select_feasible(points_i_km, feasible, n_survive) if feasible else []
    others = sorted((i for i, points_km in enumerate(points_i_km) if not len(points_km)), key=lambda i: violations_i[i])
    first = survivors[-1].rank + 1 if survivors else 0
    room = n_survive - len(survivors)
    return survivors + [Ranked(i, first + place, 0.0) for place, i in enumerate(others[:room])]


def _select_feasible(points_i_km: Sequence[Floats], feasible: Sequence[int], n_survive: int) -> list[Ranked]:
    points = np.concatenate([points_i_km[i] for i in feasible])
    owner = np.concatenate([np.full(len(points_i_km[i]), i) for i in feasible])
    point_rank = front_ranks(points)
    best = {i: int(point_rank[owner == i].min()) for i in feasible}
    survivors: list[Ranked] = []
    for rank in sorted(set(best.values())):
        members = [i for i in feasible if best[i] == rank]
        # the front also holds dominated points of individuals that already survived by a better one
        on_front = point_rank == rank
        front_pm, owner_p = _scaled(points[on_front]), owner[on_front]
        dropped = _least_contributors(front_pm, owner_p, members, len(survivors) + len(members) - n_survive)
        kept_p = ~np.isin(owner_p, list(dropped))
        contributions = _contributions(front_pm[kept_p], owner_p[kept_p])
        ranked = [Ranked(i, rank, contributions[i]) for i in members if i not in dropped]
        survivors += sorted(ranked, key=lambda r: -r.contribution)
        if len(survivors) >= n_survive:
            break
    return survivors


def _least_contributors(front_pm: Floats, owner_p: NDArray[np.int64], members: list[int], count: int) -> set[int]:
    """The `count` members to drop, one at a time, each time the one whose removal costs the least hypervolume."""
    if count <= 0:
        return set()
    if count >= len(members):
        return set(members)
    dropped: set[int] = set()
    kept_p = np.ones(len(owner_p), dtype=bool)
    whole = _volume(front_pm)
    contributions = _contributions(front_pm, owner_p)
    heap = [(contributions[i], i) for i in members]
    heapq.heapify(heap)
    while len(dropped) < count:
        # removing another member can only raise a contribution, so values in the heap are lower bounds, and
        # only the smallest need be computed again
        _, i = heapq.heappop(heap)
        contribution = whole - _volume(front_pm[kept_p & (owner_p != i)])
        if heap and contribution > heap[0][0]:
            heapq.heappush(heap, (contribution, i))
            continue
        dropped.add(i)
        kept_p &= owner_p != i
        whole -= contribution
    return dropped


def _scaled(points_pm: Floats) -> Floats:
    range_m = np.ptp(points_pm, axis=0)
    return (points_pm - points_pm.min(0)) / np.where(range_m > 0, range_m, 1.0)


def _volume(points_pm: Floats) -> float:
    return hypervolume(points_pm, np.full(points_pm.shape[1], REFERENCE))


def _contributions(points_pm: Floats, owner_p: NDArray[np.int64]) -> dict[int, float]:
    if not len(points_pm):
        return {}
    lost = exclusive_hypervolume(points_pm, owner_p, np.full(points_pm.shape[1], REFERENCE))
    return {int(i): float(value) for i, value in zip(np.unique(owner_p), lost, strict=True)}
