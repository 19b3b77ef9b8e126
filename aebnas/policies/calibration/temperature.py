"""Calibration of confidences: a temperature for each exit, the calibration error, and each exit by itself.

Legend: n samples, e exits, c classes, b bins, q quantiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.joint_grid import candidate_thresholds
from aebnas.runtime.exit_policy import ExitPolicy

ECE_BINS = 15
LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.05, 20.0
QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def fit_temperature(logits_nc: np.ndarray, labels_n: np.ndarray) -> float:
    """The temperature that minimises the cross-entropy of logits / T (Guo et al. 2017).

    The loss is convex in 1 / T, so its slope has one zero; where that lies outside [0.05, 20] the nearer end is
    taken (all answers right, say, ask for T = 0). It is done for every candidate of a search, so it is kept cheap: the
    root is sought in log T, where the slope is closer to a line (6 to 8 steps), and logits stay in 32 bits. Raises
    ValueError where there are no samples or logits are not finite.
    """
    if not len(labels_n):
        raise ValueError("a temperature needs at least one sample")
    logits_nc = logits_nc - logits_nc.max(axis=1, keepdims=True)
    if not np.isfinite(logits_nc).all():
        raise ValueError("logits must be finite, but got NaN or infinity")
    true_mean = logits_nc[np.arange(len(labels_n)), labels_n].mean(dtype=float)

    def slope(log_temperature: float) -> float:
        weights_nc = np.exp(logits_nc * logits_nc.dtype.type(np.exp(-log_temperature)))
        expected_n = np.einsum("nc,nc->n", weights_nc, logits_nc) / weights_nc.sum(axis=1)
        return float(expected_n.mean(dtype=float) - true_mean)

    low, high = np.log(LEAST_TEMPERATURE), np.log(LARGEST_TEMPERATURE)
    if slope(high) >= 0.0:
        return LARGEST_TEMPERATURE
    if slope(low) <= 0.0:
        return LEAST_TEMPERATURE
    return float(np.exp(brentq(slope, low, high, xtol=1e-7)))


def fit_temperatures(logits_nec: np.ndarray, labels_n: np.ndarray) -> tuple[float, ...]:
    """A temperature for every exit, each fitted by itself on all samples."""
    return tuple(fit_temperature(logits_nec[:, exit_], labels_n) for exit_ in range(logits_nec.shape[1]))


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in equal bins of confidence, `[b]`, bin i holding (i / b, (i + 1) / b].

    `confidence_b` and `accuracy_b` are means, NaN in empty bins. `ece` is the mean of their absolute difference,
    weighed by samples; `overconfidence` is mean confidence less accuracy.
    """

    count_b: np.ndarray
    confidence_b: np.ndarray
    accuracy_b: np.ndarray
    ece: float
    overconfidence: float


def reliability(confidence_n: np.ndarray, correct_n: np.ndarray, bins: int = ECE_BINS) -> Reliability:
    """The reliability curve and expected calibration error of answers; raises ValueError where there are none."""
    if not len(confidence_n):
        raise ValueError("a reliability curve needs at least one sample")
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
    """Reliability of the answers given: each sample's at the exit it leaves by; the table must hold the confidence."""
    taken_n = table.exit_taken(policy)
    every_n = np.arange(table.samples)
    return reliability(table.scores["confidence"][every_n, taken_n], table.correct_ne[every_n, taken_n], bins)


@dataclass(frozen=True)
class ExitSummary:
    """One exit by itself: `accuracy_alone` if all stopped here, quantiles `[q]` of each score, threshold candidates.

    `candidates` maps a score to thresholds at those quantiles, 0 and infinity (never) included.
    """

    accuracy_alone: float
    quantiles: dict[str, tuple[float, ...]]
    candidates: dict[str, tuple[float, ...]]


def summarise_exits(table: ExitTable, quantiles: Sequence[float] = QUANTILES) -> tuple[ExitSummary, ...]:
    """A summary of every exit over all samples, of every score that the table holds."""
    summaries = []
    for exit_ in range(table.exits):
        scores = {name: scores_ne[:, exit_] for name, scores_ne in table.scores.items()}
        summaries.append(
            ExitSummary(
                float(table.correct_ne[:, exit_].mean()),
                {name: tuple(np.quantile(scores_n, quantiles).tolist()) for name, scores_n in scores.items()},
                {name: tuple(candidate_thresholds(s_n, len(quantiles)).tolist()) for name, s_n in scores.items()},
            )
        )
    return tuple(summaries)
