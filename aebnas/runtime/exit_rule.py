"""The interface of the rules of an exit policy, and the values that they observe.

Legend: n samples, c classes, e exits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

if TYPE_CHECKING:
    from torch import Tensor

    from .difficulty import Difficulty


class ExitObservation(NamedTuple):
    """The values at one exit that decisions on n samples depend on.

    `score_n` float32; `class_n` int64, the predicted classes; `stop_n` the stop head's probability and `alpha_n` the
    difficulty of the image, both float32. The last three are None where the policy doesn't use them.
    """

    score_n: Tensor
    class_n: Tensor | None = None
    stop_n: Tensor | None = None
    alpha_n: Tensor | None = None

    @property
    def classes(self) -> Tensor:
        """The predicted classes, int64 `[n]`; raises ValueError where there are none."""
        return _required(self.class_n, "the policy needs the predicted classes, but got none")

    @property
    def stop_probabilities(self) -> Tensor:
        """Probabilities of the stop head, float32 `[n]`; raises ValueError where there is no stop head."""
        return _required(self.stop_n, "stop_thresholds need stop heads, but the network has none")

    @property
    def difficulties(self) -> Tensor:
        """Difficulties of the images, float32 `[n]`; raises ValueError where there are none."""
        return _required(self.alpha_n, "the policy needs the images' difficulty, but got none")


class Streak(NamedTuple):
    """For each of n samples the class that the last exits agreed on, and the number of those exits."""

    class_n: Tensor
    length_n: Tensor

    def of(self, rows: Tensor) -> Streak:
        """The streaks of the samples `rows`."""
        return Streak(self.class_n[rows], self.length_n[rows])


class ExitRule(ABC):
    """One part of a decision. By default each method leaves the decision unchanged; a rule overrides what it changes.

    Rules are frozen dataclasses, equal where they decide in the same way. They validate their values when they are
    constructed, and everything that depends on the number of exits in `check`.
    """

    score_only: ClassVar[bool] = False
    """Whether under it only the score and one threshold per exit decide at an exit that runs."""
    threshold_per_sample: ClassVar[bool] = False
    """Whether it sets thresholds per sample (`threshold`)."""

    @property
    def neutral(self) -> bool:
        """Whether it changes no decision, so that a policy with it equals one without it."""
        return False

    @property
    def needs_stop_heads(self) -> bool:
        """Whether it uses the output of stop heads."""
        return False

    @property
    def needs_classes(self) -> bool:
        """Whether it uses the classes that exits predict."""
        return False

    @property
    def estimator(self) -> Difficulty | None:
        """The estimator of the images' difficulty that it uses, if any."""
        return None

    def check(self, early: int) -> None:  # noqa: B027 (optional: most rules fit any number of exits)
        """Raise ValueError where it doesn't fit a policy of `early` exits and the last one."""

    def may_run(self, exit_index: int) -> bool:
        """Whether any sample can leave at this early exit; otherwise the exit doesn't run."""
        return True

    def threshold(self, exit_index: int, value_n: Tensor, observation: ExitObservation) -> Tensor:
        """The thresholds of n samples, float32 `[n]`, from those of the rules before it; infinity is never."""
        return value_n

    def follow(self, observation: ExitObservation, streak: Streak | None) -> Streak | None:
        """The samples' streaks after an exit that ran, from those before it."""
        return streak

    def allow(self, exit_index: int, stop_n: Tensor, observation: ExitObservation, streak: Streak | None) -> Tensor:
        """Which samples may leave, bool `[n]`, of those that earlier rules allow; `streak` is that of `follow`."""
        return stop_n

    @property
    def label(self) -> str:
        """A few words for a table's cell, or an empty string."""
        return ""

    @property
    def sentence(self) -> str:
        """A sentence for a model card, or an empty string."""
        return ""

    def threshold_text(self, exit_index: int, text: str) -> str:
        """The printed threshold of an early exit that runs, from the text `text` of the rules before it."""
        return text

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Its part of a policy's JSON; empty where it is neutral."""

    @classmethod
    @abstractmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self | None:
        """The rule in a policy's JSON; None where there is none. Raises ValueError for invalid values."""


def rows_of(value: Any) -> Any:
    """JSON's lists as tuples, at any depth."""
    return tuple(map(rows_of, value)) if isinstance(value, list) else value


def lists_of(value: Any) -> Any:
    """Tuples as JSON's lists, at any depth."""
    return list(map(lists_of, value)) if isinstance(value, tuple) else value


def in_unit_interval(value: float | None) -> bool:
    """Whether a threshold lies in [0, 1]; None is never."""
    return value is None or 0.0 <= value <= 1.0


def check_rows(name: str, values: Sequence[Any], count: int, fits: Callable[[Any], Any]) -> None:
    """Raise ValueError unless there are `count` values and each one fits."""
    if len(values) != count or not all(map(fits, values)):
        raise ValueError(f"{name} must be {count} numbers (or rows of them) in range, but got {values}")


def _required(values_n: Tensor | None, problem: str) -> Tensor:
    if values_n is None:
        raise ValueError(problem)
    return values_n
