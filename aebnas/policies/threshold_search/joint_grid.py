"""The exact joint search over a grid of candidate thresholds.

Legend: n samples, k early exits, t combinations of thresholds.
"""

from collections.abc import Sequence

import numpy as np

from aebnas.core.metrics import MAX_COMBINATIONS
from aebnas.policies.threshold_search.frontier import Frontier, frontier_of
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy


def candidate_thresholds(scores_n: np.ndarray, per_exit: int, lowest: float = 0.0) -> np.ndarray:
    """`lowest`, midpoints between neighbouring observed scores at `per_exit` quantiles, and infinity (never); float32.

    Only samples that score above `lowest` can leave, so quantiles are computed over these. Where there are none,
    `never` is the only candidate.
    """
    able_n = scores_n[scores_n > lowest]
    if len(scores_n) and not len(able_n):
        return np.array([np.inf], dtype=np.float32)
    middles = midpoints(able_n, (np.arange(per_exit) + 0.5) / per_exit)
    return np.concatenate([[lowest], middles[middles > lowest], [np.inf]]).astype(np.float32)


def midpoints(values_n: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Midpoints between neighbouring observed values at quantiles of the samples (or all, if fewer), float32.

    No value equals a midpoint, so rounding can't make a running network decide otherwise than the table.
    """
    observed = np.unique(values_n)
    middles = ((observed[1:].astype(np.float64) + observed[:-1]) / 2).astype(np.float32)
    # there is no float between neighbouring floats
    between = (observed[:-1] < middles) & (middles < observed[1:])
    if len(middles) > len(quantiles):
        # quantiles of the samples, not of the distinct scores, which concentrate near 1
        wanted = np.quantile(values_n, quantiles)
        picked = np.unique(np.clip(np.searchsorted(observed, wanted) - 1, 0, len(middles) - 1))
        middles, between = middles[picked], between[picked]
    return middles[between]


def candidates(scored: ThresholdProblem, per_exit: int) -> list[np.ndarray]:
    """The candidate thresholds of every early exit, ascending."""
    return [candidate_thresholds(scored.scores_nk[:, exit_], per_exit, scored.lowest) for exit_ in range(scored.early)]


def combinations(grid: Sequence[np.ndarray]) -> np.ndarray:
    """Every combination of one candidate per exit `[t, k]`, float32; the last exit's candidates vary fastest."""
    if not grid:
        return np.zeros((1, 0), dtype=np.float32)
    axes = np.meshgrid(*grid, indexing="ij")
    return np.stack([axis.reshape(-1) for axis in axes], axis=1).astype(np.float32, copy=False)


def joint_grid(scored: ThresholdProblem, per_exit: int) -> Frontier[ExitPolicy]:
    """The frontier over all combinations of `per_exit` quantiles at every exit, 0 and never.

    Where there are more than MAX_COMBINATIONS, each exit gets fewer quantiles.
    """
    if scored.early:
        per_exit = min(per_exit, max(1, int(MAX_COMBINATIONS ** (1 / scored.early)) - 2))
    return frontier_of(scored, combinations(candidates(scored, per_exit)))


def grid_fits(scored: ThresholdProblem, per_exit: int) -> bool:
    """Whether the joint grid of `per_exit` quantiles has at most MAX_COMBINATIONS combinations."""
    return (per_exit + 2) ** scored.early <= MAX_COMBINATIONS
