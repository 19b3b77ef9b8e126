"""A summary of each exit over all samples.

Legend: n samples, e exits, q quantiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.joint_grid import candidate_thresholds

SUMMARY_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class ExitSummary:
    """One exit: `accuracy_alone` over all samples, quantiles `[q]` of each score, threshold candidates.

    `candidates` maps a score to thresholds at those quantiles, 0 and infinity (never) included.
    """

    accuracy_alone: float
    quantiles: dict[str, tuple[float, ...]]
    candidates: dict[str, tuple[float, ...]]


def summarise_exits(table: ExitTable, quantiles: Sequence[float] = SUMMARY_QUANTILES) -> tuple[ExitSummary, ...]:
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
