"""The two rules that every policy has: the score of an exit, and a threshold for it per exit.

Legend: n samples, c classes, e exits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from ctypes import c_float
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .exit_criteria import CRITERIA, LEARNED, SINGLE_SAMPLE_SCORES
from .exit_rule import ExitRule, check_rows, in_unit_interval, lists_of, rows_of

if TYPE_CHECKING:
    from torch import Tensor

CRITERION_NAMES = (*CRITERIA, LEARNED)


@dataclass(frozen=True)
class Score(ExitRule):
    """The certainty of an exit: a criterion of its logits, divided by the exit's temperature (`temperatures [e]`, or
    empty), or the probability of its stop head (criterion `learned`).

    Temperature scaling: Guo et al. 2017. Raises ValueError for an unknown criterion.
    """

    criterion: str
    temperatures: tuple[float, ...] = ()
    score_only = True

    def __post_init__(self) -> None:
        if self.criterion not in CRITERION_NAMES:
            raise ValueError(f"criterion must be one of {', '.join(CRITERION_NAMES)}, but got '{self.criterion}'")

    def check(self, early: int) -> None:
        if self.temperatures:
            check_rows("temperatures", self.temperatures, early + 1, lambda value: 0.0 < value < math.inf)

    @property
    def needs_stop_heads(self) -> bool:
        return self.criterion == LEARNED

    def of(self, exit_index: int, logits_nc: Tensor, stop_n: Tensor | None) -> Tensor:
        """Scores in [0, 1], float32 `[n]`; raises ValueError where a stop head is needed but missing."""
        if self.criterion != LEARNED:
            return CRITERIA[self.criterion](self._scaled(exit_index, logits_nc))
        if stop_n is None:
            raise ValueError(f"criterion {LEARNED} needs stop heads, but the network has none")
        return stop_n

    def of_single_sample(self, exit_index: int, logits_1c: Tensor, stop_1: Tensor | None) -> float:
        """`of` for one sample, bitwise equal, with fewer tensor operations where the criterion allows it."""
        if self.criterion in SINGLE_SAMPLE_SCORES:
            return SINGLE_SAMPLE_SCORES[self.criterion](self._scaled(exit_index, logits_1c))
        return float(self.of(exit_index, logits_1c, stop_1).item())

    def _scaled(self, exit_index: int, logits_nc: Tensor) -> Tensor:
        return logits_nc.float() / self.temperatures[exit_index] if self.temperatures else logits_nc

    @property
    def label(self) -> str:
        return self.criterion

    @property
    def sentence(self) -> str:
        divisors = ", ".join(f"{value:.4g}" for value in self.temperatures)
        return f"Logits are divided by the exits' temperatures {divisors}." if divisors else ""

    def to_json(self) -> dict[str, Any]:
        more = {"temperatures": lists_of(self.temperatures)} if self.temperatures else {}
        return {"criterion": self.criterion} | more

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Score:
        return cls(value["criterion"], rows_of(value.get("temperatures", [])))


@dataclass(frozen=True)
class FixedThresholds(ExitRule):
    """A threshold in [0, 1] for every early exit, `[e - 1]`; None is never: the exit doesn't run.

    A 32-bit softmax can round to exactly 1.0, so with a threshold of 1.0 in place of never a rounding error could let
    samples leave. Raises ValueError for other thresholds.
    """

    values: tuple[float | None, ...]
    score_only = True

    def __post_init__(self) -> None:
        for number, threshold in enumerate(self.values, start=1):
            if not in_unit_interval(threshold):
                raise ValueError(f"threshold of exit {number} must lie in [0, 1] or be never, but got {threshold}")

    def may_run(self, exit_index: int) -> bool:
        return self.values[exit_index] is not None

    def number(self, exit_index: int) -> float:
        """The threshold of an exit that runs."""
        threshold = self.values[exit_index]
        assert threshold is not None, "an exit whose threshold is never doesn't run"
        return threshold

    def exceeded(self, exit_index: int, score: float) -> bool:
        """Whether one score is above the threshold; both are compared as 32-bit floats, as in tensors."""
        return score > c_float(self.number(exit_index)).value

    def threshold_text(self, exit_index: int, text: str) -> str:
        return f"{self.number(exit_index):.6g}"

    def to_json(self) -> dict[str, Any]:
        return {"thresholds": list(self.values)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FixedThresholds:
        return cls(rows_of(value["thresholds"]))
