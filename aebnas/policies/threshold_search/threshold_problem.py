"""The problem of finding thresholds: scores per sample and exit, correctness, costs; evaluation of threshold vectors.

The score can be any number, such as a confidence minus a multiple of the difficulty.

Legend: n samples, e exits, k early exits (e - 1), t threshold vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from aebnas.cost.exit_costs import Costs
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.reach import reached
from aebnas.runtime.exit_policy import ExitPolicy

Thresholds = tuple[float | None, ...]

DIGITS = 8
"""Decimal places that sums of weights are rounded to."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of t threshold vectors: `right_t` and `exit_counts_te` are whole samples, costs are means per sample.

    Where samples have weights, `right_t` is the sum of those of correct samples and `total` that of all; otherwise
    `total` is the number of samples. `cost_t` charges every branch that was passed, `cost_taken_only_t` only the one
    taken.
    """

    total: float
    right_t: np.ndarray
    exit_counts_te: np.ndarray
    cost_t: np.ndarray
    cost_taken_only_t: np.ndarray

    @property
    def accuracy_t(self) -> np.ndarray:
        """Accuracy as a fraction, weighted where samples have weights."""
        return self.right_t / self.total


@dataclass(frozen=True)
class ThresholdProblem:
    """Scores `scores_nk` (float32) of the early exits, `correct_ne`, the costs, and `make`, which makes a policy from
    thresholds.

    A sample leaves at the first exit where its score is above the threshold; infinity means `never`. `lowest` is
    the minimum threshold that `make` accepts. `weight_n` are weights of the samples in the accuracy (not in the costs),
    None for equal ones. Raises ValueError where shapes disagree or a score is not finite.
    """

    scores_nk: np.ndarray
    correct_ne: np.ndarray
    costs: Costs
    make: Callable[[Thresholds], ExitPolicy]
    lowest: float = 0.0
    weight_n: np.ndarray | None = None

    def __post_init__(self) -> None:
        samples, exits = self.correct_ne.shape
        if self.scores_nk.shape != (samples, exits - 1):
            raise ValueError(f"scores must be {(samples, exits - 1)}, but got {self.scores_nk.shape}")
        if self.scores_nk.dtype != np.float32:  # as the running network compares them
            raise ValueError(f"scores must be float32, but got {self.scores_nk.dtype}")
        if not np.isfinite(self.scores_nk).all():
            raise ValueError("scores must be finite")
        cost_exits, cost_samples = self.costs.exits, self.costs.samples
        if cost_exits != exits or cost_samples not in (None, samples):
            raise ValueError(f"costs must be of {exits} exits and {samples} samples")
        if self.weight_n is not None and self.weight_n.shape != (samples,):
            raise ValueError(f"weights must be {(samples,)}, but got {self.weight_n.shape}")

    @classmethod
    def of(cls, table: ExitTable, criterion: str, cost: str = "macs") -> "ThresholdProblem":
        """The problem of a criterion and a cost metric of the table; raises KeyError for one that it doesn't have."""
        early = table.exits - 1
        make = partial(ExitPolicy, criterion, temperatures=table.temperatures)
        return cls(table.scores[criterion][:, :early], table.correct_ne, table.costs[cost], make)

    @property
    def samples(self) -> int:
        """Number of samples n."""
        return self.correct_ne.shape[0]

    @property
    def right_ne(self) -> np.ndarray:
        """What each sample adds to the accuracy at each exit: its weight (1 without weights) where it is correct."""
        return self.correct_ne * (1.0 if self.weight_n is None else self.weight_n[:, None])

    @property
    def early(self) -> int:
        """Number of exits k that have a threshold."""
        return self.scores_nk.shape[1]

    @property
    def full_cost(self) -> float:
        """Mean cost where everything runs; costs divided by it are in [0, 1]."""
        return self.costs.full

    def rows(self, rows_n: np.ndarray) -> "ThresholdProblem":
        """The problem of the samples `rows_n`, bool `[n]` or indices."""
        return replace(
            self,
            scores_nk=self.scores_nk[rows_n],
            correct_ne=self.correct_ne[rows_n],
            costs=self.costs.rows(rows_n),
            weight_n=None if self.weight_n is None else self.weight_n[rows_n],
        )

    def policy(self, thresholds_k: np.ndarray) -> ExitPolicy:
        """The policy of a threshold vector."""
        return self.make(tuple(None if np.isinf(value) else float(value) for value in thresholds_k))

    def evaluate(self, thresholds_tk: np.ndarray) -> Evaluation:
        """Exact figures of any threshold vectors (float32 `[t, k]`, infinity for never).

        Counts, and costs that are whole numbers, are bitwise equal to those of separate evaluations. Raises ValueError
        for vectors of another number of exits.
        """
        if thresholds_tk.ndim != 2 or thresholds_tk.shape[1] != self.early:
            raise ValueError(f"thresholds must be for {self.early} exits, but got shape {thresholds_tk.shape}")
        thresholds_tk = thresholds_tk.astype(np.float32, copy=False)
        runs_te = np.ones((len(thresholds_tk), self.early + 1), dtype=bool)
        runs_te[:, :-1] = thresholds_tk < np.inf
        gain_nk = np.diff(self.correct_ne.astype(np.int8), axis=1)
        backbone_ne, branch_ne = self.costs.parts()
        per_sample = self.costs.samples is not None
        steps_nkf = None
        if per_sample:  # additional cost of the next exit: backbone, its branch, and the difference of branches
            changes = np.diff(backbone_ne, axis=1), branch_ne[:, 1:], np.diff(branch_ne, axis=1)
            steps_nkf = np.stack(changes, axis=-1)
        found = reached(self.scores_nk, thresholds_tk, gain_nk, steps_nkf, self.weight_n)
        passed_te = np.concatenate([np.full((1, len(thresholds_tk)), self.samples), found.count_kt]).T
        counts_te = passed_te - np.concatenate([passed_te[:, 1:], np.zeros((len(thresholds_tk), 1), int)], axis=1)
        if self.weight_n is None:
            total: float = self.samples
            right_t = int(self.correct_ne[:, 0].sum()) + found.gain_kt.sum(axis=0)
        else:  # rounded, so that equal accuracies that were summed in another order stay equal
            total = float(self.weight_n.sum())
            right_t = np.round(self.right_ne[:, 0].sum() + found.gain_kt.sum(axis=0), DIGITS)
        if per_sample:
            backbone_kt, branch_kt, difference_kt = np.moveaxis(found.weight_ktf, -1, 0)
            start = float(backbone_ne[:, 0].sum())
            through_t = start + backbone_kt.sum(axis=0)
            cost_t = through_t + branch_ne[:, 0].sum() * runs_te[:, 0] + (branch_kt.T * runs_te[:, 1:]).sum(axis=1)
            taken_t = through_t + branch_ne[:, 0].sum() + difference_kt.sum(axis=0)
        else:
            cost_t = (counts_te * (backbone_ne + np.cumsum(branch_ne * runs_te, axis=1))).sum(axis=1)
            taken_t = (counts_te * (backbone_ne + branch_ne)).sum(axis=1)
        return Evaluation(total, right_t, counts_te, cost_t / self.samples, taken_t / self.samples)
