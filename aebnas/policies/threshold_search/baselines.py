"""Simple ways to set thresholds, to compare the joint ones with: one value for all exits, BranchyNet's, greedy.

Legend: n samples, k early exits, t threshold vectors.
"""

import math
from collections.abc import Sequence

import numpy as np

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.frontier import Frontier, frontier_of
from aebnas.policies.threshold_search.joint_grid import candidates
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

FIXED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Thresholds people set by hand."""
BRANCHYNET_ENTROPIES = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Entropies in nats, of the sizes BranchyNet screened."""


def fixed(scored: ThresholdProblem, values: Sequence[float] = FIXED) -> Frontier[ExitPolicy]:
    """The frontier of policies with one threshold for all exits, that of no early exit among them.

    An exit where nobody may leave, whatever the threshold, is never.
    """
    column_t1 = np.array([*values, np.inf], dtype=np.float32)[:, None]
    closed_k = (scored.scores_nk <= scored.lowest).all(axis=0)
    return frontier_of(scored, np.where(closed_k, np.float32(np.inf), column_t1))


def branchynet(
    table: ExitTable, classes: int, entropies: Sequence[float] = BRANCHYNET_ENTROPIES, cost: str = "macs"
) -> Frontier[ExitPolicy]:
    """BranchyNet's rule with one entropy for all exits: a sample leaves if its entropy (nats) is below it.

    As a score, 1 - H / ln(classes). Entropies beyond ln(classes) let everybody out.
    """
    values = [max(0.0, 1.0 - entropy / math.log(classes)) for entropy in entropies]
    return fixed(ThresholdProblem.of(table, "entropy", cost), values)


def greedy(
    scored: ThresholdProblem, per_exit: int = 50, targets: Sequence[float] | None = None
) -> Frontier[ExitPolicy]:
    """The frontier of thresholds set exit by exit, the first exit first, without looking ahead.

    For a target accuracy each exit gets the lowest of `per_exit` quantiles at which those who leave there, of those
    who got there, are right at least so often; `never` where there is none. Each target gives one vector.
    """
    if targets is None:
        own = scored.correct_ne.mean(axis=0)
        targets = np.linspace(min(own.min(), 0.5), 1.0, 101).tolist()
    grid = candidates(scored, per_exit)
    above = [np.searchsorted(grid[exit_], scored.scores_nk[:, exit_], side="left") for exit_ in range(scored.early)]
    found_tk = np.empty((len(targets), scored.early), dtype=np.float32)
    for row, target in enumerate(targets):
        running_n = np.ones(scored.samples, dtype=bool)
        for exit_, thresholds in enumerate(grid):
            here_n = above[exit_][running_n]
            right_n = scored.correct_ne[running_n, exit_]
            # leave at candidate c: who is above more than c candidates
            leave_c = np.cumsum(np.bincount(here_n, minlength=len(thresholds))[::-1])[::-1][1:]
            right_c = np.cumsum(np.bincount(here_n, weights=right_n, minlength=len(thresholds))[::-1])[::-1][1:]
            good_c = np.flatnonzero((leave_c > 0) & (right_c >= target * leave_c))
            chosen = int(good_c[0]) if len(good_c) else len(thresholds) - 1
            found_tk[row, exit_] = thresholds[chosen]
            running_n &= above[exit_] <= chosen
    return frontier_of(scored, found_tk)
