"""Figures of an early-exit network under one policy, computed from its ExitTable.

Legend: n samples, e exits, c classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aebnas.core.percentiles import tail_of_samples
from aebnas.policies.calibration.reliability import policy_reliability
from aebnas.policies.calibration.risk_control import losses
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import sample_costs, score_policy
from aebnas.runtime.exit_policy import ExitPolicy


@dataclass(frozen=True)
class Tail:
    """Distribution of a cost over samples, in the metric's unit."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    worst: float


def tail(cost_n: np.ndarray) -> Tail:
    """Mean, quantiles and worst case; a quantile is an observed cost, the smallest that reaches its share."""
    return Tail(**tail_of_samples(cost_n))


@dataclass(frozen=True)
class Description:
    """Figures of a policy on a table; `None` where the table lacks the values for them.

    `premature_rate` is the share of samples wrong at their exit but right at the last, `rescued_rate` the share right
    at their exit but wrong at the last. `top_accuracy` maps k to the share with the label among the k largest logits.
    """

    samples: int
    accuracy: float
    exit_shares: tuple[float, ...]
    exit_accuracy: tuple[float | None, ...]
    costs: dict[str, Tail]
    premature_rate: float
    rescued_rate: float
    ece: float | None
    top_accuracy: dict[int, float] | None


def describe(table: ExitTable, policy: ExitPolicy, tops: Sequence[int] = (1, 5)) -> Description:
    """All figures of a policy that can be computed from the table."""
    scored = score_policy(table, policy)
    taken_n = table.exit_taken(policy)
    right_n = table.correct_ne[np.arange(table.samples), taken_n]
    return Description(
        samples=table.samples,
        accuracy=scored.accuracy,
        exit_shares=scored.exit_shares,
        exit_accuracy=scored.exit_accuracy,
        costs={name: tail(sample_costs(table, policy, name)) for name in table.costs},
        premature_rate=premature_rate(table, policy),
        rescued_rate=float((right_n & ~table.correct_ne[:, -1]).mean()),
        ece=policy_reliability(table, policy).ece if "confidence" in table.scores else None,
        top_accuracy=_top_accuracy(table, taken_n, tops),
    )


def premature_rate(table: ExitTable, policy: ExitPolicy) -> float:
    """Share of samples that are wrong at the exit they leave by and would have been right at the last."""
    return float(losses(table, policy).mean())


def _top_accuracy(table: ExitTable, taken_n: np.ndarray, tops: Sequence[int]) -> dict[int, float] | None:
    if table.logits_nec is None or table.labels_n is None:
        return None
    rows = np.arange(table.samples)
    logits_nc = table.logits_nec[rows, taken_n].astype(np.float32)
    above_n = (logits_nc > logits_nc[rows, table.labels_n][:, None]).sum(axis=1)
    # of equal logits, to which float16 rounds close ones, the first is the prediction, as by argmax
    before_nc = np.arange(logits_nc.shape[1]) < table.labels_n[:, None]
    above_n += ((logits_nc == logits_nc[rows, table.labels_n][:, None]) & before_nc).sum(axis=1)
    return {k: float((above_n < k).mean()) for k in tops if k <= logits_nc.shape[1]}
