"""Calibration of confidences: reliability curves and the expected calibration error (ECE; Guo et al. 2017).

Legend: n samples, e exits, b bins.
"""

from dataclasses import dataclass

import numpy as np

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy

ECE_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins of equal width, `[b]`; bin i holds confidences in (i / b, (i + 1) / b].

    `confidence_b` and `accuracy_b` are means, NaN in empty bins. `ece` is the mean of their absolute difference,
    weighted by samples; `overconfidence` is mean confidence minus accuracy.
    """

    count_b: np.ndarray
    confidence_b: np.ndarray
    accuracy_b: np.ndarray
    ece: float
    overconfidence: float


def reliability(confidence_n: np.ndarray, correct_n: np.ndarray, bins: int = ECE_BINS) -> Reliability:
    """The reliability curve and expected calibration error of n predictions; raises ValueError for no samples."""
    if not len(confidence_n):
        raise ValueError("a reliability curve must have at least one sample, but got none")
    confidence_n = confidence_n.astype(float)
    bin_n = np.clip(np.ceil(confidence_n * bins).astype(int) - 1, 0, bins - 1)
    count_b = np.bincount(bin_n, minlength=bins)
    confidence_b = np.bincount(bin_n, weights=confidence_n, minlength=bins)
    accuracy_b = np.bincount(bin_n, weights=correct_n, minlength=bins)
    ece = float(np.abs(confidence_b - accuracy_b).sum() / len(bin_n))
    known_b = np.where(count_b, count_b, np.nan)
    return Reliability(
        count_b, confidence_b / known_b, accuracy_b / known_b, ece, float(confidence_n.mean() - correct_n.mean())
    )


def exit_reliability(table: ExitTable, bins: int = ECE_BINS) -> tuple[Reliability, ...]:
    """Reliability of every exit over all samples; the table must hold the confidence."""
    columns = zip(table.scores["confidence"].T, table.correct_ne.T, strict=True)
    return tuple(reliability(confidence_n, correct_n, bins) for confidence_n, correct_n in columns)


def policy_reliability(table: ExitTable, policy: ExitPolicy, bins: int = ECE_BINS) -> Reliability:
    """Reliability of each sample's prediction at the exit it leaves by; the table must hold the confidence."""
    taken_n = table.exit_taken(policy)
    every_n = np.arange(table.samples)
    return reliability(table.scores["confidence"][every_n, taken_n], table.correct_ne[every_n, taken_n], bins)
