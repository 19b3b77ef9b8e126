"""Mean, percentiles and worst case of a cost over samples: early exit trades the mean against the tail.

The distribution is exact: where a share of the samples leaves at each exit, percentile q is the smallest cost that at
least q percent of them don't exceed. A metric's name may end in one of the statistics: `latency_ms@p99`.

Legend: e exits, n samples.
"""

from typing import NamedTuple

import numpy as np

MEAN = "mean"

STATISTICS: dict[str, float | None] = {MEAN: None, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "worst": 1.0}
"""Name after the @ of a metric -> its quantile, None for the mean."""

ROUNDING = 1e-9
"""Subtracted from each quantile: sums of shares may be below it by rounding errors."""


class TailMetric(NamedTuple):
    """A metric and one statistic of its distribution over samples."""

    metric: str
    statistic: str

    def __str__(self) -> str:
        return self.metric if self.statistic == MEAN else f"{self.metric}@{self.statistic}"


def tail(costs_e: np.ndarray, shares_e: np.ndarray) -> dict[str, float]:
    """Every statistic of a cost that is `costs_e [e]` for the shares `shares_e [e]` of samples that leave at each exit.

    Raises ValueError where shapes differ or the shares don't sum to 1.
    """
    costs, shares = np.asarray(costs_e, dtype=float), np.asarray(shares_e, dtype=float)
    if costs.shape != shares.shape or abs(shares.sum() - 1.0) > 1e-6 or (shares < 0).any():
        raise ValueError(f"shares must be of {costs.shape} exits and sum to 1, but got {shares.tolist()}")
    taken = shares > 0  # no sample leaves at the others, so their cost doesn't occur
    costs, shares = costs[taken], shares[taken]
    quantiles = [q - ROUNDING for q in STATISTICS.values() if q is not None]
    found = iter(np.quantile(costs, quantiles, weights=shares, method="inverted_cdf").tolist())
    return {name: float(costs @ shares) if q is None else next(found) for name, q in STATISTICS.items()}


def tail_of_samples(costs_n: np.ndarray) -> dict[str, float]:
    """The same for costs `[n]` of single samples, where they depend on more than the exit."""
    return tail(costs_n, np.full(len(costs_n), 1.0 / len(costs_n))) | {MEAN: float(np.mean(costs_n))}
