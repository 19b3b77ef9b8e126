"""The score of one policy on one ExitTable: accuracy, costs and exits taken.

Legend: n samples, e exits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aebnas.core.metrics import ACCURACY, BALANCED, WORST_CLASS
from aebnas.policies.exit_table.class_accuracy import class_accuracy
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy


@dataclass(frozen=True)
class PolicyScore:
    """The score of one policy on one table.

    `accuracy` is a fraction; `balanced_accuracy` and `worst_class_accuracy` are the mean and the minimum over the
    classes that have samples, None where the table lacks the labels. `mean_cost` maps each cost metric to its mean over
    samples, charged with everything that ran for a sample, branches it passed included; `mean_cost_taken_only` with the
    backbone and the branch taken only (and, in boosted networks, the branches whose logits that one adds).
    `exit_accuracy` is None where no sample leaves.
    """

    accuracy: float
    mean_cost: Mapping[str, float]
    mean_cost_taken_only: Mapping[str, float]
    exit_shares: tuple[float, ...]
    exit_accuracy: tuple[float | None, ...]
    balanced_accuracy: float | None = None
    worst_class_accuracy: float | None = None

    @property
    def class_metrics(self) -> dict[str, float]:
        """The metrics over classes, by name; empty where the table lacks the labels."""
        metrics = {BALANCED: self.balanced_accuracy, WORST_CLASS: self.worst_class_accuracy}
        return {name: value for name, value in metrics.items() if value is not None}

    def share(self, metric: str) -> float:
        """An accuracy by the metric's name; raises KeyError for one over classes where the table lacks the labels."""
        return ({ACCURACY: self.accuracy} | self.class_metrics)[metric]

    @property
    def avg_macs(self) -> float:
        """Average MACs, every branch passed charged."""
        return self.mean_cost["macs"]

    @property
    def avg_macs_taken_only(self) -> float:
        """Average MACs, only the branch taken charged."""
        return self.mean_cost_taken_only["macs"]


def score_policy(table: ExitTable, policy: ExitPolicy) -> PolicyScore:
    """Accuracies, mean costs in both conventions, exit shares and per-exit accuracy of a policy."""
    taken_n = table.exit_taken(policy)
    correct_n = table.correct_ne[np.arange(table.samples), taken_n]
    counts_e = np.bincount(taken_n, minlength=table.exits)
    right_e = np.bincount(taken_n, weights=correct_n, minlength=table.exits)
    runs_e = np.array([policy.runs(index) for index in range(table.exits)])
    more = {name: difficulty_cost(table, policy, name) for name in table.costs}
    classes_c = None if table.labels_n is None else class_accuracy(table.labels_n, correct_n)
    return PolicyScore(
        accuracy=float(correct_n.mean()),
        mean_cost={name: _mean(costs.to_exit_ne(runs_e), taken_n) + more[name] for name, costs in table.costs.items()},
        mean_cost_taken_only={
            name: _mean(costs.taken_only_ne, taken_n) + more[name] for name, costs in table.costs.items()
        },
        exit_shares=tuple(float(count) / table.samples for count in counts_e),
        exit_accuracy=tuple(
            float(right / count) if count else None for right, count in zip(right_e, counts_e, strict=True)
        ),
        balanced_accuracy=None if classes_c is None else float(np.nanmean(classes_c)),
        worst_class_accuracy=None if classes_c is None else float(np.nanmin(classes_c)),
    )


def sample_costs(table: ExitTable, policy: ExitPolicy, cost: str = "macs") -> np.ndarray:
    """The cost of each sample under a policy, branches it passed included, `[n]`."""
    runs_e = np.array([policy.runs(index) for index in range(table.exits)])
    return _at(table.costs[cost].to_exit_ne(runs_e), table.exit_taken(policy)) + difficulty_cost(table, policy, cost)


def difficulty_cost(table: ExitTable, policy: ExitPolicy, cost: str) -> float:
    """The cost of estimating a sample's difficulty where the policy uses it, else 0."""
    return 0.0 if policy.difficulty is None else table.difficulty_costs.get(cost, 0.0)


def _at(cost_ne: np.ndarray, taken_n: np.ndarray) -> np.ndarray:
    rows_n = np.arange(len(taken_n)) if len(cost_ne) == len(taken_n) else np.zeros(len(taken_n), dtype=int)
    return cost_ne[rows_n, taken_n]


def _mean(cost_ne: np.ndarray, taken_n: np.ndarray) -> float:
    if len(cost_ne) == 1:  # numbers of samples times a cost: exact where costs are whole numbers
        counts_e = np.bincount(taken_n, minlength=cost_ne.shape[1])
        return float(counts_e @ cost_ne[0] / len(taken_n))
    return float(_at(cost_ne, taken_n).mean())
