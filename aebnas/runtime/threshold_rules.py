"""Rules that change the threshold of a sample: by the difficulty of its image and by the class predicted for it.

A policy applies them in the order of this file and clamps the result to [0, 1]; since no score exceeds 1, infinity
(never) becomes 1. Together they are DART's Eq. 19: clamp(coefficient * threshold + beta_diff * alpha, 0, 1).

Legend: n samples, c classes, e exits, b difficulty bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .difficulty import Difficulty
from .exit_rule import ExitObservation, ExitRule, check_rows, in_unit_interval, lists_of, rows_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DifficultyBins(ExitRule):
    """A threshold (None: never) for each bin of the image's difficulty, `thresholds [e - 1][b]`.

    Bins are separated by `edges [b - 1]` in ascending order; a difficulty equal to an edge belongs to the bin below.
    The policy's fixed thresholds only determine which exits run. Raises ValueError for edges that don't ascend.
    """

    difficulty: Difficulty
    edges: tuple[float, ...]
    thresholds: tuple[tuple[float | None, ...], ...]
    threshold_per_sample = True

    def __post_init__(self) -> None:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"difficulty_edges must be ascending, but got {self.edges}")

    @property
    def estimator(self) -> Difficulty:
        return self.difficulty

    def check(self, early: int) -> None:
        bins = len(self.edges) + 1
        check_rows(
            "binned_thresholds",
            self.thresholds,
            early,
            lambda row: len(row) == bins and all(map(in_unit_interval, row)),
        )

    def threshold(self, exit_index: int, value_n: Tensor, observation: ExitObservation) -> Tensor:
        alpha_n = observation.difficulties
        bin_n = (alpha_n[:, None] > alpha_n.new_tensor(self.edges)).sum(1)
        row_b = [math.inf if value is None else value for value in self.thresholds[exit_index]]
        return value_n.new_tensor(row_b)[bin_n]

    @property
    def label(self) -> str:
        return "difficulty"

    @property
    def sentence(self) -> str:
        return "Thresholds depend on the image's difficulty."

    def threshold_text(self, exit_index: int, text: str) -> str:
        return "by difficulty"

    def to_json(self) -> dict[str, Any]:
        edges = {"difficulty_edges": lists_of(self.edges)} if self.edges else {}
        return {"difficulty": self.difficulty.to_json()} | edges | {"binned_thresholds": lists_of(self.thresholds)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DifficultyBins | None:
        if "binned_thresholds" not in value:
            return None
        return cls(_estimator(value), rows_of(value.get("difficulty_edges", [])), rows_of(value["binned_thresholds"]))


@dataclass(frozen=True)
class Coefficients(ExitRule):
    """Thresholds are multiplied by a factor per exit, or per exit and predicted class, `factors [e - 1][1 or c]`.

    Online adaptation changes them (DART's c_i).
    """

    factors: tuple[tuple[float, ...], ...]
    threshold_per_sample = True

    @property
    def neutral(self) -> bool:
        return not self.factors

    @property
    def needs_classes(self) -> bool:
        return any(len(row) > 1 for row in self.factors)

    def check(self, early: int) -> None:
        check_rows(
            "coefficients", self.factors, early, lambda row: row and all(0.0 < value < math.inf for value in row)
        )

    def threshold(self, exit_index: int, value_n: Tensor, observation: ExitObservation) -> Tensor:
        row = self.factors[exit_index]
        return value_n * (value_n.new_tensor(row)[observation.classes] if len(row) > 1 else row[0])

    @property
    def sentence(self) -> str:
        return "Thresholds are multiplied by coefficients, by exit and predicted class."

    def to_json(self) -> dict[str, Any]:
        return {"coefficients": lists_of(self.factors)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Coefficients | None:
        return cls(rows_of(value["coefficients"])) if "coefficients" in value else None


@dataclass(frozen=True)
class DifficultyOffset(ExitRule):
    """`beta_diff` times the image's difficulty is added to thresholds: difficult images have higher ones.

    With a `beta_diff` of 0 it changes no decision, but the estimate still runs and is charged. Raises ValueError for
    a `beta_diff` outside [0, 1].
    """

    difficulty: Difficulty
    beta_diff: float
    threshold_per_sample = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.beta_diff <= 1.0:
            raise ValueError(f"beta_diff must lie in [0, 1], but got {self.beta_diff}")

    @property
    def estimator(self) -> Difficulty:
        return self.difficulty

    def threshold(self, exit_index: int, value_n: Tensor, observation: ExitObservation) -> Tensor:
        return value_n + self.beta_diff * observation.difficulties

    @property
    def label(self) -> str:
        return "difficulty"

    @property
    def sentence(self) -> str:
        return f"{self.beta_diff:.4g} times the image's difficulty, in [0, 1], is added to thresholds."

    def to_json(self) -> dict[str, Any]:
        factor = {"beta_diff": self.beta_diff} if self.beta_diff else {}
        return {"difficulty": self.difficulty.to_json()} | factor

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DifficultyOffset | None:
        if "beta_diff" not in value and ("difficulty" not in value or "binned_thresholds" in value):
            return None
        return cls(_estimator(value), value.get("beta_diff", 0.0))


def _estimator(value: Mapping[str, Any]) -> Difficulty:
    if value.get("difficulty") is None:
        raise ValueError("beta_diff and binned_thresholds need a difficulty, but got none")
    return Difficulty.from_json(value["difficulty"])
