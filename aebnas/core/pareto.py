"""Dominance and hypervolume; every objective is minimised, a point is a row of `points [p, m]`, m >= 1."""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def nondominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates, bool `[p]`; of exact duplicates only the first is marked."""
    points_pm = np.asarray(points, dtype=float)
    if not len(points_pm):
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(points_pm), dtype=bool)


def front_ranks(points: ArrayLike) -> NDArray[np.int64]:
    """Rank of each point by non-dominated sorting (Deb et al. 2002, NSGA-II), int `[p]`: 0 is the best front.

    Duplicates share a rank.
    """
    points_pm = np.asarray(points, dtype=float)
    if not len(points_pm):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points_pm), dtype=np.int64)


def knee(points: ArrayLike) -> int:
    """Row of a front furthest below the plane through its extremes, each objective scaled to [0, 1] on the front."""
    points_pm = np.asarray(points, dtype=float)
    low_m, range_m = points_pm.min(0), np.ptp(points_pm, 0)
    return int(((points_pm - low_m) / np.where(range_m > 0, range_m, 1.0)).sum(1).argmin())


def share_dominated(points: ArrayLike, by: ArrayLike) -> float:
    """Share of `points [p, m]` dominated by a row of `by [q, m]`: one no worse in any objective, and better in one."""
    points_p1m, by_1qm = np.asarray(points, dtype=float)[:, None], np.asarray(by, dtype=float)[None]
    dominated_pq = np.all(by_1qm <= points_p1m, axis=-1) & np.any(by_1qm < points_p1m, axis=-1)
    return float(np.any(dominated_pq, axis=1).mean())


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume that `points` dominate up to `reference [m]`; points not below the reference add nothing."""
    points_pm = np.asarray(points, dtype=float)
    return float(moocore.hypervolume(points_pm, ref=np.asarray(reference, dtype=float))) if len(points_pm) else 0.0


def exclusive_hypervolume(points: ArrayLike, groups: ArrayLike, reference: ArrayLike) -> Floats:
    """Hypervolume lost when all points of a group are removed, `[g]` in the order of `np.unique(groups)`.

    `groups [p]` holds the group of each point, such as its architecture's number; with one point a group this is
    the usual hypervolume contribution. Raises ValueError where their lengths differ.
    """
    points_pm, groups_p = np.asarray(points, dtype=float), np.asarray(groups)
    if len(points_pm) != len(groups_p):
        raise ValueError(f"groups must name one group for each of {len(points_pm)} points, but got {len(groups_p)}")
    whole = hypervolume(points_pm, reference)
    lost = [whole - hypervolume(points_pm[groups_p != group], reference) for group in np.unique(groups_p)]
    return np.maximum(np.asarray(lost, dtype=float), 0.0)  # a difference of equal volumes may round below 0
