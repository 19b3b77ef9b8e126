"""The cost of leaving at each exit: the same for every sample (`ExitCosts`), or depending on the input.

Both consist of a backbone, cumulative up to each exit's site, and a branch per exit. Costs that every sample pays (a
controller, a difficulty estimator) are part of the backbone of every exit. In a boosted network, whose exits add to the
logits of the exits before them, branches run whether samples may leave there or not, so they are part of the backbone
up to their exit; what remains of a branch is its stop head and the time of a decision. Imports no torch.

Legend: n samples, e exits; an axis has length 1 where all samples cost the same.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from aebnas.core.percentiles import tail, tail_of_samples


class Costs(ABC):
    """One additive cost of a network, to each of its exits."""

    @abstractmethod
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Backbone and branches, float64 `[1 or n, e]`."""

    @property
    @abstractmethod
    def samples(self) -> int | None:
        """Number of samples where the cost depends on them, else None."""

    @abstractmethod
    def rows(self, selected_n: np.ndarray) -> Self:
        """The costs of the samples `selected_n` (bool `[n]` or indices)."""

    @abstractmethod
    def plus(self, amount: float) -> Self:
        """The costs with an amount added that every sample pays, at whatever exit it leaves."""

    @abstractmethod
    def statistics(self, exit_n: np.ndarray, runs_e: np.ndarray, more: float = 0.0) -> dict[str, float]:
        """Mean, percentiles and worst cost of samples that leave at `exit_n`, each of which pays `more` in addition."""

    @property
    def exits(self) -> int:
        """Number of exits."""
        return int(self.parts()[1].shape[1])

    def to_exit_ne(self, runs_e: np.ndarray | None = None) -> np.ndarray:
        """Cost of a sample that leaves at each exit, branches passed included, `[1 or n, e]`.

        `runs_e` (bool `[e]`) states at which exits samples may leave; branches of `never` exits don't run.
        """
        backbone, branch = self.parts()
        return backbone + np.cumsum(branch if runs_e is None else branch * runs_e, axis=1)

    @property
    def taken_only_ne(self) -> np.ndarray:
        """Cost if of branches only the one taken is charged (the convention of NACHOS and EDANAS), `[1 or n, e]`."""
        backbone, branch = self.parts()
        return backbone + branch

    @property
    @abstractmethod
    def summed_branches(self) -> float:
        """The part of the last exit's backbone that only a boosted network has: its early branches, and the sums."""

    @property
    def without_exits(self) -> float:
        """Mean cost of a sample in the same backbone without early exits."""
        return float(self.taken_only_ne[:, -1].mean()) - self.summed_branches

    @property
    def full(self) -> float:
        """Mean cost of a sample for which everything runs: the divisor that scales costs to [0, 1]."""
        return float(self.to_exit_ne()[:, -1].mean())


@dataclass(frozen=True)
class ExitCosts(Costs):
    """One cost of a Graph: `backbone_e` up to each exit's site (cumulative), `branch_e` of each branch."""

    backbone_e: tuple[float, ...]
    branch_e: tuple[float, ...]
    summed_branches: float = 0.0

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.backbone_e, float)[None], np.array(self.branch_e, float)[None]

    @property
    def samples(self) -> int | None:
        return None

    def rows(self, selected_n: np.ndarray) -> "ExitCosts":
        return self

    def plus(self, amount: float) -> "ExitCosts":
        return replace(self, backbone_e=tuple(cost + amount for cost in self.backbone_e))

    def statistics(self, exit_n: np.ndarray, runs_e: np.ndarray, more: float = 0.0) -> dict[str, float]:
        shares_e = np.bincount(exit_n, minlength=len(self.branch_e)) / len(exit_n)
        return tail(self.to_exit(runs_e) + more, shares_e)

    @property
    def total(self) -> float:
        """Cost of the whole backbone and every branch."""
        return self.backbone_e[-1] + sum(self.branch_e)

    def to_exit(self, runs_e: np.ndarray | None = None) -> np.ndarray:
        """Cost of a sample that leaves at each exit, branches it passed included, `[..., e]`.

        `runs_e` (bool, `[..., e]`) states at which exits samples may leave; branches of `never` exits don't run.
        """
        branch = np.asarray(self.branch_e)
        passed = branch if runs_e is None else branch * runs_e
        return np.asarray(self.backbone_e) + np.cumsum(passed, axis=-1)

    @property
    def taken_only(self) -> np.ndarray:
        """Cost if of branches only the one taken is charged (the convention of NACHOS and EDANAS), `[e]`."""
        return np.asarray(self.backbone_e) + np.asarray(self.branch_e)


@dataclass(frozen=True)
class SampleCosts(Costs):
    """A cost that depends on the input: `backbone_ne` up to each exit's site (cumulative) and `branch_ne`.

    Raises ValueError where shapes differ or a number is negative or not finite.
    """

    backbone_ne: np.ndarray
    branch_ne: np.ndarray
    summed_branches: float = 0.0

    def __post_init__(self) -> None:
        if self.backbone_ne.ndim != 2 or self.backbone_ne.shape != self.branch_ne.shape:
            got = f"{self.backbone_ne.shape} and {self.branch_ne.shape}"
            raise ValueError(f"costs of backbone and branches must be of one shape [n, e], but got {got}")
        for part in (self.backbone_ne, self.branch_ne):
            if not (np.isfinite(part).all() and (part >= 0).all()):
                raise ValueError("costs must be finite and at least 0")

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        return self.backbone_ne.astype(float), self.branch_ne.astype(float)

    @property
    def samples(self) -> int | None:
        return len(self.branch_ne)

    def rows(self, selected_n: np.ndarray) -> "SampleCosts":
        return SampleCosts(self.backbone_ne[selected_n], self.branch_ne[selected_n], self.summed_branches)

    def plus(self, amount: float) -> "SampleCosts":
        return replace(self, backbone_ne=self.backbone_ne + amount)

    def statistics(self, exit_n: np.ndarray, runs_e: np.ndarray, more: float = 0.0) -> dict[str, float]:
        return tail_of_samples(self.to_exit_ne(runs_e)[np.arange(len(exit_n)), exit_n] + more)
