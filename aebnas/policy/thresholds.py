"""Thresholds found on an ExitTable: the exact joint search over a grid of quantiles.

Notation: S_i(t) the samples whose score at exit i is above candidate threshold t; R the samples that reached
exit i under the thresholds chosen before (a prefix). What exit i adds is linear in R, so all combinations of
prefixes p and candidates t come out of one matrix product:
    stops(p, t) = R(p) . S_i(t),  right(p, t) = R(p) . (S_i(t) * correct_i).

Legend: n samples, e exits, p prefixes (combinations of the thresholds before), t candidates of one exit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aebnas.objectives import SoftTarget
from aebnas.pareto import nondominated
from aebnas.policy.table import ExitTable
from aebnas.runtime.decide import ExitPolicy

MAX_COMBINATIONS = 1_000_000
"""Beyond this many threshold combinations the grid per exit is made coarser."""
BLOCK_CELLS = 50_000_000
"""At most this many (prefix, sample) cells are held at once."""


@dataclass(frozen=True)
class TunedPolicy:
    """A policy with its accuracy (fraction) and average MACs on the table it was found on."""

    policy: ExitPolicy
    accuracy: float
    avg_macs: float


def frontier(table: ExitTable, criteria: tuple[str, ...], per_exit: int, max_points: int) -> list[TunedPolicy]:
    """The accuracy-MACs frontier over all joint thresholds of all criteria, cheapest first.

    At most `max_points` are kept, evenly spread over the frontier with both ends. The candidates of an exit are
    0 (all who score above leave), the midpoints between scores at `per_exit` quantiles, and never.
    """
    found: list[TunedPolicy] = []
    for criterion in criteria if table.exits > 1 else criteria[:1]:
        found += _grid_frontier(table, criterion, per_exit)
    points = np.array([[1.0 - point.accuracy, point.avg_macs] for point in found])
    kept = [point for point, keep in zip(found, nondominated(points), strict=True) if keep]
    kept.sort(key=lambda point: point.avg_macs)
    if len(kept) > max_points:
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, max_points).round().astype(int)]
    return kept


def best_within(points: list[TunedPolicy], max_avg_macs: float) -> TunedPolicy:
    """The most accurate point within a budget of average MACs; the cheapest where none fits."""
    fitting = [point for point in points if point.avg_macs <= max_avg_macs]
    if not fitting:
        return min(points, key=lambda point: point.avg_macs)
    return max(fitting, key=lambda point: (point.accuracy, -point.avg_macs))


def tune_to_target(
    table: ExitTable, criteria: Sequence[str], choices: Sequence[float | None], target: SoftTarget
) -> ExitPolicy:
    """The best policy of the grid `choices` ^ (e - 1) in the soft target's first objective (AEBNAS's threshold grid).

    `None` is never. Of equals the first in the order of `criteria` and of the grid.
    """
    grid = np.array([np.inf if choice is None else choice for choice in choices], dtype=np.float32)
    early = table.exits - 1
    shape = (len(choices),) * early
    best: tuple[float, ExitPolicy] | None = None
    for criterion in criteria if early else criteria[:1]:
        right_k, cost_k = joint_grid(table, criterion, [grid] * early)
        means = zip(right_k / table.samples, cost_k / table.samples, strict=True)
        values = [target.minimised({"accuracy": accuracy, "avg_macs": macs})[0] for accuracy, macs in means]
        flat = int(np.argmin(values))
        if best is None or values[flat] < best[0]:
            picked = np.unravel_index(flat, shape) if early else ()
            best = values[flat], ExitPolicy(criterion, tuple(choices[int(index)] for index in picked))
    assert best is not None, "a space has at least one criterion"
    return best[1]


def candidate_thresholds(scores_n: np.ndarray, per_exit: int) -> np.ndarray:
    """0, midpoints between neighbouring observed scores at `per_exit` quantiles, and infinity (never); float32.

    Midpoints keep rounding from flipping a decision between the table and a running network.
    """
    observed = np.unique(scores_n)
    middles = ((observed[1:].astype(np.float64) + observed[:-1]) / 2).astype(np.float32)
    # neighbouring floats have nothing between them
    between = (observed[:-1] < middles) & (middles < observed[1:])
    if len(middles) > per_exit:
        # quantiles of the samples, not of the distinct scores, which pile up near 1
        wanted = np.quantile(scores_n, (np.arange(per_exit) + 0.5) / per_exit)
        picked = np.unique(np.clip(np.searchsorted(observed, wanted) - 1, 0, len(middles) - 1))
        middles, between = middles[picked], between[picked]
    middles = middles[between]
    return np.concatenate([[0.0], middles, [np.inf]]).astype(np.float32)


def _grid_frontier(table: ExitTable, criterion: str, per_exit: int) -> list[TunedPolicy]:
    early = table.exits - 1
    if early:
        per_exit = min(per_exit, max(1, int(MAX_COMBINATIONS ** (1 / early)) - 2))
    scores_ne = table.scores[criterion]
    grid = [candidate_thresholds(scores_ne[:, index], per_exit) for index in range(early)]
    right_k, cost_k = joint_grid(table, criterion, grid)
    points = np.stack([-right_k, cost_k], 1)
    picked = _lower_left(points)
    shape = tuple(len(candidates) for candidates in grid)
    tuned = []
    for flat in picked:
        indices = np.unravel_index(flat, shape) if shape else ()
        values = [float(candidates[index]) for candidates, index in zip(grid, indices, strict=True)]
        policy = ExitPolicy(criterion, tuple(None if np.isinf(value) else value for value in values))
        tuned.append(TunedPolicy(policy, right_k[flat] / table.samples, cost_k[flat] / table.samples))
    return tuned


def joint_grid(table: ExitTable, criterion: str, grid: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Number of right answers and total MACs of every combination of thresholds, each `[product of t]`.

    Combinations are in C order (the last exit's candidates run fastest). Exact: counts are whole numbers that
    float32 and float64 hold.
    """
    backbone_e, branch_e = np.array(table.macs.backbone_e, float), np.array(table.macs.branch_e, float)
    right_e = table.correct_ne.T.astype(np.float32)
    if not grid:
        total = table.samples * (backbone_e[0] + branch_e[0])
        return np.array([right_e[0].sum()], float), np.array([total])
    prefixes = int(np.prod([len(candidates) for candidates in grid[:-1]]))
    if prefixes > 1 and prefixes * table.samples > BLOCK_CELLS:  # bound memory: one candidate at a time
        at = next(index for index, candidates in enumerate(grid) if len(candidates) > 1)
        parts = [joint_grid(table, criterion, [*grid[:at], one[None], *grid[at + 1 :]]) for one in grid[at]]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    running_pn = np.ones((1, table.samples), dtype=np.float32)
    right_p, cost_p = np.zeros(1), np.zeros(1)
    for index, candidates in enumerate(grid):
        stops_tn = (table.scores[criterion][:, index] > candidates[:, None]).astype(np.float32)
        reached_p = running_pn.sum(1, dtype=np.float64)
        stopped_pt = (running_pn @ stops_tn.T).astype(float)
        right_pt = right_p[:, None] + running_pn @ (stops_tn * right_e[index]).T
        cost_pt = cost_p[:, None] + stopped_pt * backbone_e[index]
        cost_pt += reached_p[:, None] * branch_e[index] * np.isfinite(candidates)
        if index == len(grid) - 1:  # who is left answers at the last exit
            right_pt = right_pt + running_pn @ ((1 - stops_tn) * right_e[-1]).T
            cost_pt += (reached_p[:, None] - stopped_pt) * (backbone_e[-1] + branch_e[-1])
        else:
            running_pn = (running_pn[:, None, :] * (1 - stops_tn)).reshape(-1, table.samples)
        right_p, cost_p = right_pt.reshape(-1).astype(float), cost_pt.reshape(-1)
    return right_p, cost_p


def _lower_left(points: np.ndarray) -> np.ndarray:
    """Indices of the non-dominated rows of a large `[k, 2]` array, both minimised."""
    order = np.lexsort((points[:, 0], points[:, 1]))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], points[order, 0][:-1]]))
    return order[points[order, 0] < best_before]
