"""Mean, percentiles and worst case of a cost over samples: early exit trades the mean against the tail.

The distribution is exact: where a share of the samples leaves at each exit, percentile q is the least cost that at
least q percent of them don't exceed. A metric's name may say which of the figures is meant: `latency_ms@p99`.

Legend: e exits, n samples.
"""

from typing import NamedTuple

import numpy as np

MEAN = "mean"

STATISTICS: dict[str, float | None] = {MEAN: None, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "worst": 1.0}
"""What may stand behind the @ of a metric: the quantile, None for the mean."""

ROUNDING = 1e-9
"""Taken off each quantile: shares are floats, whose sums may fall short of it by an error of rounding."""


class TailMetric(NamedTuple):
    """A metric and which figure of its distribution is meant."""

    metric: str
    statistic: str

    def __str__(self) -> str:
        return self.metric if self.statistic == MEAN else f"{self.metric}@{self.statistic}"


def tail(costs_e: np.ndarray, shares_e: np.ndarray) -> dict[str, float]:
    """Every statistic of a cost that is `costs_e` for a sample leaving at each exit, `shares_e` of which do.

    Raises ValueError where the shares don't sum to 1.
    """
    costs, shares = np.asarray(costs_e, dtype=float), np.asarray(shares_e, dtype=float)
    if costs.shape != shares.shape or abs(shares.sum() - 1.0) > 1e-6 or (shares < 0).any():
        raise ValueError(f"shares must be of {costs.shape} exits and sum to 1, but got {shares.tolist()}")
    left = shares > 0  # nobody leaves at the others, so their cost is nobody's
    costs, shares = costs[left], shares[left]
    wanted = [q - ROUNDING for q in STATISTICS.values() if q is not None]
    found = iter(np.quantile(costs, wanted, weights=shares, method="inverted_cdf").tolist())
    return {name: float(costs @ shares) if q is None else next(found) for name, q in STATISTICS.items()}


def tail_of_samples(costs_n: np.ndarray) -> dict[str, float]:
    """The same for the cost of each sample, where it depends on more than the exit."""
    return tail(costs_n, np.full(len(costs_n), 1.0 / len(costs_n))) | {MEAN: float(np.mean(costs_n))}
