"""DART's thresholds on an ExitTable (Eq. 19), which rise with the difficulty of images.

A sample stops if its confidence exceeds tau_i + beta_diff * alpha, that is, if confidence - beta_diff * alpha exceeds
tau_i. So any threshold search with that difference as the score finds DART's base thresholds.
(Clamping the sum to [0, 1] has no effect: no confidence exceeds 1, and neither part is negative.)

Legend: n samples, k early exits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem, Thresholds
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.threshold_rules import DifficultyOffset


@dataclass(frozen=True)
class DartSetting:
    """The difficulty estimator, its factor in the thresholds, and `objective`, their cross-validated J."""

    difficulty: Difficulty
    beta_diff: float
    objective: float


def dart_scores(
    scored: ThresholdProblem, difficulty: Difficulty, alpha_n: np.ndarray, beta_diff: float, estimator_cost: float = 0
) -> ThresholdProblem:
    """The problem of finding DART's base thresholds; `estimator_cost` (for one image) is charged to every sample."""
    shifted_nk = np.maximum(scored.scores_nk - np.float32(beta_diff) * alpha_n.astype(np.float32)[:, None], 0.0)
    return replace(
        scored,
        scores_nk=shifted_nk.astype(np.float32, copy=False),
        costs=scored.costs.plus(estimator_cost),
        make=partial(_with_difficulty, scored.make, difficulty, beta_diff),
    )


def _with_difficulty(
    make: Callable[[Thresholds], ExitPolicy], difficulty: Difficulty, beta_diff: float, thresholds: Thresholds
) -> ExitPolicy:
    return make(thresholds).with_rules(DifficultyOffset(difficulty, beta_diff))
