"""Rules with conditions besides a score above its threshold: agreement, a stop head, a minimum depth.

Legend: n samples, c classes, e exits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .exit_rule import ExitObservation, ExitRule, Streak, check_rows, in_unit_interval, lists_of, rows_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Patience(ExitRule):
    """`exits` exits in a row must predict the same class, this one included; exits that don't run don't count.

    With thresholds of 0 it is the patience criterion of PABEE (Zhou et al. 2020). Raises ValueError for fewer than 1.
    """

    exits: int

    def __post_init__(self) -> None:
        if self.exits < 1:
            raise ValueError(f"patience must be at least 1, but got {self.exits}")

    @property
    def neutral(self) -> bool:
        return self.exits == 1

    @property
    def needs_classes(self) -> bool:
        return True

    def follow(self, observation: ExitObservation, streak: Streak | None) -> Streak:
        class_n = observation.classes
        length_n = class_n.new_ones(len(class_n))
        if streak is not None:
            length_n = length_n + streak.length_n * (streak.class_n == class_n)
        return Streak(class_n, length_n)

    def allow(self, exit_index: int, stop_n: Tensor, observation: ExitObservation, streak: Streak | None) -> Tensor:
        assert streak is not None, "`follow` is called first"
        return stop_n & (streak.length_n >= self.exits)

    @property
    def label(self) -> str:
        return f"{self.exits} agree"

    @property
    def sentence(self) -> str:
        return f"{self.exits} exits in a row must agree on the class."

    def to_json(self) -> dict[str, Any]:
        return {"patience": self.exits}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Patience | None:
        return cls(value["patience"]) if "patience" in value else None


@dataclass(frozen=True)
class StopHeads(ExitRule):
    """The dual rule: the stop head's probability must be above its threshold as well, `thresholds [e - 1]`."""

    thresholds: tuple[float, ...]

    @property
    def neutral(self) -> bool:
        return not self.thresholds

    @property
    def needs_stop_heads(self) -> bool:
        return True

    def check(self, early: int) -> None:
        check_rows(
            "stop_thresholds", self.thresholds, early, lambda value: value is not None and in_unit_interval(value)
        )

    def allow(self, exit_index: int, stop_n: Tensor, observation: ExitObservation, streak: Streak | None) -> Tensor:
        return stop_n & (observation.stop_probabilities > self.thresholds[exit_index])

    @property
    def label(self) -> str:
        return f"stop > {', '.join(f'{value:g}' for value in sorted(set(self.thresholds)))}"

    @property
    def sentence(self) -> str:
        return f"The stop head's probability must exceed {', '.join(f'{value:.6g}' for value in self.thresholds)}."

    def to_json(self) -> dict[str, Any]:
        return {"stop_thresholds": lists_of(self.thresholds)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StopHeads | None:
        return cls(rows_of(value["stop_thresholds"])) if "stop_thresholds" in value else None


@dataclass(frozen=True)
class MinExit(ExitRule):
    """No sample leaves before this exit (from 0). Raises ValueError for a negative one."""

    exit_index: int
    score_only = True

    def __post_init__(self) -> None:
        if self.exit_index < 0:
            raise ValueError(f"min_exit must be at least 0, but got {self.exit_index}")

    @property
    def neutral(self) -> bool:
        return self.exit_index == 0

    def may_run(self, exit_index: int) -> bool:
        return exit_index >= self.exit_index

    @property
    def label(self) -> str:
        return "minimum depth"

    def to_json(self) -> dict[str, Any]:
        return {"min_exit": self.exit_index}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MinExit | None:
        return cls(value["min_exit"]) if "min_exit" in value else None


@dataclass(frozen=True)
class MinExitByClass(ExitRule):
    """No sample leaves before the exit (from 0) of its predicted class, `exits [c]`. Raises ValueError for a
    negative one."""

    exits: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.exits, default=0) < 0:
            raise ValueError(f"min_exit_by_class must be exits of at least 0, but got {self.exits}")

    @property
    def neutral(self) -> bool:
        return not self.exits

    @property
    def needs_classes(self) -> bool:
        return True

    def may_run(self, exit_index: int) -> bool:
        return exit_index >= min(self.exits)

    def allow(self, exit_index: int, stop_n: Tensor, observation: ExitObservation, streak: Streak | None) -> Tensor:
        class_n = observation.classes
        return stop_n & (class_n.new_tensor(self.exits)[class_n] <= exit_index)

    @property
    def label(self) -> str:
        return "minimum depth"

    @property
    def sentence(self) -> str:
        return "No image leaves before the minimum exit of its predicted class."

    def to_json(self) -> dict[str, Any]:
        return {"min_exit_by_class": lists_of(self.exits)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MinExitByClass | None:
        return cls(rows_of(value["min_exit_by_class"])) if "min_exit_by_class" in value else None
