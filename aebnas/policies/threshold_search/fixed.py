"""One threshold for all exits, as commonly set by hand: the simplest baseline.

Legend: k early exits, t threshold vectors.
"""

from collections.abc import Sequence

import numpy as np

from aebnas.policies.threshold_search.frontier import Frontier, frontier_of
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

FIXED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Thresholds that are commonly set by hand."""


def fixed(scored: ThresholdProblem, values: Sequence[float] = FIXED) -> Frontier[ExitPolicy]:
    """The frontier of policies with one threshold for all exits, including the one without early exits.

    An exit where no sample can leave, whatever the threshold, is `never`.
    """
    column_t1 = np.array([*values, np.inf], dtype=np.float32)[:, None]
    closed_k = (scored.scores_nk <= scored.lowest).all(axis=0)
    return frontier_of(scored, np.where(closed_k, np.float32(np.inf), column_t1))
