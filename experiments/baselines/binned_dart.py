"""DART with thresholds of each bin of the difficulty, as its value iteration decides them.

Legend: n samples, k early exits, a difficulty bins.
"""

from collections.abc import Sequence

import numpy as np

from aebnas.policies.threshold_search.frontier import Frontier, TunedPolicy
from aebnas.policies.threshold_search.joint_grid import midpoints
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.policies.threshold_search.value_iteration import DEFAULT_BETAS, value_iteration
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.threshold_rules import DifficultyBins

UNREACHABLE = np.float32(np.finfo(np.float32).max)
"""A threshold above every score, of an exit whose branch runs all the same."""


def dart_binned_frontier(
    scored: ThresholdProblem,
    last_scores_n: np.ndarray,
    difficulty: Difficulty,
    alpha_n: np.ndarray,
    difficulty_bins: int = 4,
    betas: Sequence[float] = DEFAULT_BETAS,
    bins: int = 20,
) -> Frontier[ExitPolicy]:
    """The frontier over trade-offs `betas`. Bins of the difficulty `alpha_n`, float32 `[n]`, hold equally many."""
    edges = midpoints(alpha_n, np.arange(1, difficulty_bins) / difficulty_bins)
    group_n = np.searchsorted(edges, alpha_n, side="left")
    points = []
    for beta in betas:
        thresholds_ak = value_iteration(scored, last_scores_n, beta, bins, group_n)
        points.append(_binned(scored, group_n, edges, thresholds_ak, difficulty))
    return Frontier.of(points, scored.full_cost)


def _binned(
    scored: ThresholdProblem, group_n: np.ndarray, edges: np.ndarray, thresholds_ak: np.ndarray, difficulty: Difficulty
) -> TunedPolicy[ExitPolicy]:
    # a branch runs for all samples if any bin may leave by it
    runs_k = np.isfinite(thresholds_ak).any(axis=0)
    in_force_ak = np.where(runs_k & np.isinf(thresholds_ak), UNREACHABLE, thresholds_ak)
    right, cost = 0, 0.0
    for group, thresholds_k in enumerate(in_force_ak):
        part = scored.rows(group_n == group)
        figures = part.evaluate(thresholds_k[None])
        right += int(figures.right_t[0])
        cost += float(figures.cost_t[0]) * part.samples
    columns = [[None if np.isinf(value) else float(value) for value in column_a] for column_a in thresholds_ak.T]
    bins = DifficultyBins(difficulty, tuple(edges.tolist()), tuple(map(tuple, columns)))
    policy = scored.policy(thresholds_ak.min(axis=0)).with_rules(bins)
    return TunedPolicy(policy, right / scored.samples, cost / scored.samples)
