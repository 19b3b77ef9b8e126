"""Greedy thresholds, set exit by exit.

Legend: n samples, c candidates of an exit, t threshold vectors.
"""

from collections.abc import Sequence

import numpy as np

from aebnas.policies.threshold_search.frontier import Frontier, frontier_of
from aebnas.policies.threshold_search.joint_grid import candidates
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy


def greedy(
    scored: ThresholdProblem, per_exit: int = 50, targets: Sequence[float] | None = None
) -> Frontier[ExitPolicy]:
    """The frontier of thresholds set exit by exit from the first on, independent of later exits.

    For a target accuracy each exit gets the lowest of `per_exit` quantiles at which the samples that leave there have
    at least that accuracy; `never` where there is none. Each target (by default 101 from 0.5 or less to 1) gives one
    threshold vector.
    """
    if targets is None:
        own = scored.right_ne.mean(axis=0)
        targets = np.linspace(min(own.min(), 0.5), 1.0, 101).tolist()
    grid = candidates(scored, per_exit)
    above = [np.searchsorted(grid[exit_], scored.scores_nk[:, exit_], side="left") for exit_ in range(scored.early)]
    found_tk = np.empty((len(targets), scored.early), dtype=np.float32)
    right_ne = scored.right_ne
    for row, target in enumerate(targets):
        running_n = np.ones(scored.samples, dtype=bool)
        for exit_, thresholds in enumerate(grid):
            here_n = above[exit_][running_n]
            right_n = right_ne[running_n, exit_]
            weight_n = None if scored.weight_n is None else scored.weight_n[running_n]
            # those above more than c candidates leave at candidate c
            leave_c = np.cumsum(np.bincount(here_n, weight_n, minlength=len(thresholds))[::-1])[::-1][1:]
            right_c = np.cumsum(np.bincount(here_n, weights=right_n, minlength=len(thresholds))[::-1])[::-1][1:]
            good_c = np.flatnonzero((leave_c > 0) & (right_c >= target * leave_c))
            chosen = int(good_c[0]) if len(good_c) else len(thresholds) - 1
            found_tk[row, exit_] = thresholds[chosen]
            running_n &= above[exit_] <= chosen
    return frontier_of(scored, found_tk)
