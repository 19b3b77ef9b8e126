"""The ExitTable: what one network said about a set of samples at each of its exits.

It is computed once per architecture; every policy, threshold search and metric is a vectorised function of it.

Legend: n samples, e exits, c classes, t threshold vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aebnas.cost.counts import ExitCosts
from aebnas.runtime.decide import CRITERIA, ExitPolicy

CHUNK_CELLS = 20_000_000
"""At most this many (threshold vector, sample, exit) cells are held at once."""


@dataclass(frozen=True)
class ExitTable:
    """Scores, correctness and costs of n samples at e exits.

    `scores` maps a criterion to float32 `[n, e]`; `correct_ne` is bool; `macs` is the cost to each exit.
    Raises ValueError when shapes disagree or a score is not finite.
    """

    scores: Mapping[str, np.ndarray]
    correct_ne: np.ndarray
    macs: ExitCosts

    def __post_init__(self) -> None:
        for criterion, scores_ne in self.scores.items():
            if scores_ne.shape != self.correct_ne.shape:
                raise ValueError(f"{criterion}: scores must be {self.correct_ne.shape}, but got {scores_ne.shape}")
            if not np.isfinite(scores_ne).all():
                raise ValueError(f"{criterion}: scores must be finite")
        if len(self.macs.branch_e) != self.exits:
            raise ValueError(f"costs must be of {self.exits} exits, but got {len(self.macs.branch_e)}")

    @classmethod
    def from_logits(cls, logits_nec: Tensor, labels_n: Tensor, criteria: Sequence[str], macs: ExitCosts) -> "ExitTable":
        """Build from the logits of every exit; raises ValueError where they are not finite."""
        if not torch.isfinite(logits_nec).all():
            raise ValueError("logits must be finite, but got NaN or infinity")
        scores = {name: CRITERIA[name](logits_nec).cpu().numpy() for name in criteria}
        correct_ne = (logits_nec.argmax(-1) == labels_n[:, None]).cpu().numpy()
        return cls(scores, correct_ne, macs)

    @property
    def samples(self) -> int:
        """Number of samples n."""
        return self.correct_ne.shape[0]

    @property
    def exits(self) -> int:
        """Number of exits e, the last one included."""
        return self.correct_ne.shape[1]

    def exit_taken(self, policy: ExitPolicy) -> np.ndarray:
        """Exit at which each sample leaves under a policy, int `[n]`, as `Network.infer` decides it."""
        return self.exits_taken(policy.criterion, thresholds_te([policy]))[0]

    def exits_taken(self, criterion: str, thresholds_te: np.ndarray) -> np.ndarray:
        """The same for t threshold vectors (`[t, e - 1]`, float32, infinity for never), int `[t, n]`."""
        if thresholds_te.shape[1] != self.exits - 1:
            raise ValueError(f"thresholds must be for {self.exits - 1} exits, but got {thresholds_te.shape[1]}")
        scores_ne = self.scores[criterion][:, : self.exits - 1]
        taken_tn = np.empty((len(thresholds_te), self.samples), dtype=np.int64)
        rows = max(1, CHUNK_CELLS // max(1, scores_ne.size))
        for start in range(0, len(thresholds_te), rows):
            part = thresholds_te[start : start + rows]
            stops_tne = np.ones((len(part), self.samples, self.exits), dtype=bool)  # the last always answers
            stops_tne[:, :, :-1] = scores_ne > part[:, None, :]
            taken_tn[start : start + rows] = stops_tne.argmax(-1)
        return taken_tn


def thresholds_te(policies: Sequence[ExitPolicy]) -> np.ndarray:
    """Thresholds of policies as float32 `[t, e - 1]`, infinity for never: the numbers `Network.infer` compares with."""
    rows = [[np.inf if value is None else value for value in policy.thresholds] for policy in policies]
    return np.array(rows, dtype=np.float32).reshape(len(policies), -1)


@dataclass(frozen=True)
class PolicyScore:
    """How one policy does on one table.

    `accuracy` is a fraction. `avg_macs` charges a sample for everything that ran for it, branches it passed
    included; `avg_macs_taken_only` for the backbone and the branch taken. `exit_accuracy` is None where nobody
    leaves.
    """

    accuracy: float
    avg_macs: float
    avg_macs_taken_only: float
    exit_shares: tuple[float, ...]
    exit_accuracy: tuple[float | None, ...]


def score_policy(table: ExitTable, policy: ExitPolicy) -> PolicyScore:
    """Accuracy, average MACs in both conventions, exit shares and per-exit accuracy of a policy."""
    taken_n = table.exit_taken(policy)
    correct_n = table.correct_ne[np.arange(table.samples), taken_n]
    counts_e = np.bincount(taken_n, minlength=table.exits)
    right_e = np.bincount(taken_n, weights=correct_n, minlength=table.exits)
    runs_e = np.array([policy.runs(index) for index in range(table.exits)])
    return PolicyScore(
        accuracy=float(correct_n.mean()),
        avg_macs=float(counts_e @ table.macs.to_exit(runs_e) / table.samples),
        avg_macs_taken_only=float(counts_e @ table.macs.taken_only / table.samples),
        exit_shares=tuple(float(count) / table.samples for count in counts_e),
        exit_accuracy=tuple(
            float(right / count) if count else None for right, count in zip(right_e, counts_e, strict=True)
        ),
    )
