"""When to stop: the ExitPolicy, which applies a criterion.

A sample leaves at an exit if its score is **greater than** the exit's threshold, and whatever else the policy demands
holds too. An exit can be switched off (`None`, written `never` in YAML): a 32-bit softmax rounds to exactly 1.0, so a
threshold of 1.0 alone would be one rounding away from letting samples out.

All is said in methods of the tensors, so a policy can be read and written without loading torch.
Legend: n samples, c classes, e exits, b difficulty bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from ctypes import c_float
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from .difficulty import Difficulty
from .exit_criteria import CRITERIA, LEARNED, SINGLE_SAMPLE_SCORES

if TYPE_CHECKING:
    from torch import Tensor


class ExitObservation(NamedTuple):
    """What an exit says of n samples, as far as decisions look at it.

    `score_n` float32; `class_n` int64, `stop_n` the stop head's probability, `alpha_n` the difficulty of the image,
    where the policy asks for them.
    """

    score_n: Tensor
    class_n: Tensor | None = None
    stop_n: Tensor | None = None
    alpha_n: Tensor | None = None


class Streak(NamedTuple):
    """Of n samples: the class that the last exits agreed on, and how many they were."""

    class_n: Tensor
    length_n: Tensor

    def of(self, rows: Tensor) -> Streak:
        """The streaks of the samples `rows`."""
        return Streak(self.class_n[rows], self.length_n[rows])


@dataclass(frozen=True)
class ExitPolicy:
    """A criterion and one threshold for every exit but the last, which always answers; and what may be added.

    - `patience`: so many exits in a row have to agree on the class (this one included; exits that don't run don't
      count). With thresholds of 0 it is the plain criterion of that name.
    - `stop_thresholds [e - 1]`: the stop head's probability has to be greater as well (the dual rule).
    - `min_exit`: nobody leaves before this exit (from 0); `min_exit_by_class [c]`: nor before that of its class.
    - `temperatures [e]`: logits are divided by these before the criterion looks at them.
    - `coefficients [e - 1][c or 1]`, by exit and predicted class, and the `difficulty` alpha of the image: the
      threshold is clamp(coefficient * threshold + beta_diff * alpha, 0, 1) (DART's Eq. 19).
    - `difficulty_edges [b - 1]`, `binned_thresholds [e - 1][b]`: a threshold of its own (or never) for each bin of
      alpha, in place of `thresholds`, which then only say which exits run.

    Raises ValueError for what cannot be.
    """

    criterion: str
    thresholds: tuple[float | None, ...]
    patience: int = 1
    stop_thresholds: tuple[float, ...] = ()
    min_exit: int = 0
    min_exit_by_class: tuple[int, ...] = ()
    temperatures: tuple[float, ...] = ()
    coefficients: tuple[tuple[float, ...], ...] = ()
    difficulty: Difficulty | None = None
    beta_diff: float = 0.0
    difficulty_edges: tuple[float, ...] = ()
    binned_thresholds: tuple[tuple[float | None, ...], ...] = ()

    def __post_init__(self) -> None:
        known = (*CRITERIA, LEARNED)
        if self.criterion not in known:
            raise ValueError(f"criterion must be one of {', '.join(known)}, but got '{self.criterion}'")
        for number, threshold in enumerate(self.thresholds, start=1):
            if not _in_range(threshold):
                raise ValueError(f"threshold of exit {number} must lie in [0, 1] or be never, but got {threshold}")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, but got {self.patience}")
        if min(self.min_exit, *self.min_exit_by_class, 0) < 0:
            raise ValueError(f"min_exit must be at least 0, but got {self.min_exit} and {self.min_exit_by_class}")
        early, bins = len(self.thresholds), len(self.difficulty_edges) + 1
        _check("stop_thresholds", self.stop_thresholds, early, _in_range)
        _check("temperatures", self.temperatures, early + 1, lambda value: 0.0 < value < math.inf)
        _check("coefficients", self.coefficients, early, lambda row: row and all(0.0 < c < math.inf for c in row))
        _check(
            "binned_thresholds",
            self.binned_thresholds,
            early,
            lambda row: len(row) == bins and all(map(_in_range, row)),
        )
        if any(low >= high for low, high in pairwise(self.difficulty_edges)):
            raise ValueError(f"difficulty_edges must rise, but got {self.difficulty_edges}")
        if self.difficulty is None and (self.beta_diff or self.binned_thresholds):
            raise ValueError("beta_diff and binned_thresholds need a difficulty, but got none")
        if not 0.0 <= self.beta_diff <= 1.0:
            raise ValueError(f"beta_diff must lie in [0, 1], but got {self.beta_diff}")

    @property
    def plain(self) -> bool:
        """Whether scores and thresholds alone decide."""
        return all(getattr(self, field.name) == field.default for field in fields(self)[2:])

    @property
    def rule(self) -> str:
        """The criterion and what else must hold besides thresholds, in a few words."""
        more = []
        if self.patience > 1:
            more.append(f"{self.patience} agree")
        if self.stop_thresholds:
            more.append(f"stop > {', '.join(f'{value:g}' for value in sorted(set(self.stop_thresholds)))}")
        if self.min_exit or self.min_exit_by_class:
            more.append("minimum depth")
        if self.difficulty is not None:
            more.append("difficulty")
        return " + ".join([self.criterion, *more])

    @property
    def needs_stop_heads(self) -> bool:
        """Whether decisions look at stop heads."""
        return self.criterion == LEARNED or bool(self.stop_thresholds)

    @property
    def needs_classes(self) -> bool:
        """Whether decisions look at the classes that exits predict."""
        return bool(self.min_exit_by_class or self.patience > 1 or any(len(row) > 1 for row in self.coefficients))

    @cached_property
    def by_score(self) -> bool:
        """Whether at an exit that runs the score and one threshold alone decide."""
        more = self.stop_thresholds or self.min_exit_by_class or self.coefficients
        return not (more or self.patience > 1 or self.difficulty is not None)

    def runs(self, exit_index: int) -> bool:
        """Whether the branch of this exit runs at all; one where nobody can leave doesn't, and costs nothing."""
        return exit_index >= len(self.thresholds) or self._early_runs[exit_index]

    @cached_property
    def _early_runs(self) -> tuple[bool, ...]:
        least = max(self.min_exit, min(self.min_exit_by_class, default=0))
        return tuple(value is not None and index >= least for index, value in enumerate(self.thresholds))

    def observe(
        self, exit_index: int, logits_nc: Tensor, stop_logit_n: Tensor | None = None, alpha_n: Tensor | None = None
    ) -> ExitObservation:
        """What decisions at this exit look at, from its logits, its stop head's output and the images' difficulty.

        Raises ValueError where stop heads are looked at and there are none.
        """
        stop_n = None if stop_logit_n is None else stop_logit_n.float().sigmoid()
        if self.criterion != LEARNED:
            score_n = CRITERIA[self.criterion](self._scaled(exit_index, logits_nc))
        elif stop_n is not None:
            score_n = stop_n
        else:
            raise ValueError(f"criterion {LEARNED} needs stop heads, but the network has none")
        return ExitObservation(score_n, logits_nc.argmax(-1) if self.needs_classes else None, stop_n, alpha_n)

    def stops_one(self, exit_index: int, logits_1c: Tensor, stop_logit_1: Tensor | None = None) -> bool:
        """What `stops` says of one sample at an exit that runs, where the policy is `by_score`: with less to do, since
        for one sample deciding must not cost what leaving saves. Raises ValueError as `observe`."""
        threshold = self.thresholds[exit_index]
        assert threshold is not None, "an exit that is never taken doesn't run"
        if self.criterion in SINGLE_SAMPLE_SCORES:
            score = SINGLE_SAMPLE_SCORES[self.criterion](self._scaled(exit_index, logits_1c))
        else:
            score = self.observe(exit_index, logits_1c, stop_logit_1).score_n.item()
        return score > c_float(threshold).value  # scores are compared as 32-bit floats

    def _scaled(self, exit_index: int, logits_nc: Tensor) -> Tensor:
        return logits_nc.float() / self.temperatures[exit_index] if self.temperatures else logits_nc

    def stops(
        self, exit_index: int, observation: ExitObservation, streak: Streak | None = None
    ) -> tuple[Tensor, Streak | None]:
        """Which samples leave at this exit, bool `[n]`, and their streaks behind it.

        `streak` is that behind the exit that ran before (None at the first one). Raises ValueError where something
        that the policy looks at wasn't observation.
        """
        if exit_index >= len(self.thresholds):
            return observation.score_n.bool() | True, streak
        if not self.runs(exit_index):
            return observation.score_n.bool() & False, streak
        stop_n = observation.score_n > self.threshold(exit_index, observation)
        if self.stop_thresholds:
            if observation.stop_n is None:
                raise ValueError("stop_thresholds need stop heads, but the network has none")
            stop_n = stop_n & (observation.stop_n > self.stop_thresholds[exit_index])
        if self.min_exit_by_class:
            class_n = _classes(observation)
            stop_n = stop_n & (class_n.new_tensor(self.min_exit_by_class)[class_n] <= exit_index)
        if self.patience > 1:
            class_n = _classes(observation)
            length_n = class_n.new_ones(len(class_n))
            if streak is not None:
                length_n = length_n + streak.length_n * (streak.class_n == class_n)
            streak = Streak(class_n, length_n)
            stop_n = stop_n & (length_n >= self.patience)
        return stop_n, streak

    def threshold(self, exit_index: int, observation: ExitObservation) -> float | Tensor:
        """The threshold in force at an exit that runs: one number, or one for each sample, which is 1 for never."""
        threshold = self.thresholds[exit_index]
        assert threshold is not None, "an exit that is never taken doesn't run"
        if not self.coefficients and self.difficulty is None:
            return threshold
        score_n, alpha_n = observation.score_n, observation.alpha_n
        value_n = score_n.new_full((len(score_n),), threshold)
        if self.difficulty is not None:
            if alpha_n is None:
                raise ValueError("the policy needs the images' difficulty, but got none")
            if self.binned_thresholds:
                bin_n = (alpha_n[:, None] > alpha_n.new_tensor(self.difficulty_edges)).sum(1)
                row = [math.inf if value is None else value for value in self.binned_thresholds[exit_index]]
                value_n = score_n.new_tensor(row)[bin_n]
        if self.coefficients:
            factors = self.coefficients[exit_index]
            value_n = value_n * (score_n.new_tensor(factors)[_classes(observation)] if len(factors) > 1 else factors[0])
        if self.beta_diff and alpha_n is not None:
            value_n = value_n + self.beta_diff * alpha_n
        return value_n.clamp(0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary without what is at its default; a `never` exit is null."""
        value: dict[str, Any] = {"criterion": self.criterion, "thresholds": list(self.thresholds)}
        for field in fields(self)[2:]:
            content = getattr(self, field.name)
            if content != field.default:
                value[field.name] = content.to_json() if isinstance(content, Difficulty) else _listed(content)
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ExitPolicy:
        """Read what `to_json` wrote."""
        given = {name: _tupled(content) for name, content in value.items()}
        if "difficulty" in given:
            given["difficulty"] = Difficulty.from_json(value["difficulty"])
        return cls(**given)


def _classes(observation: ExitObservation) -> Tensor:
    if observation.class_n is None:
        raise ValueError("the policy needs the predicted classes, but got none")
    return observation.class_n


def _in_range(threshold: float | None) -> bool:
    return threshold is None or 0.0 <= threshold <= 1.0


def _check(name: str, values: Sequence[Any], count: int, fits: Callable[[Any], Any]) -> None:
    """Of what may be left out: as many as there should be, and each as it should be."""
    if values and (len(values) != count or not all(map(fits, values))):
        raise ValueError(f"{name} must be {count} numbers (or rows of them) in range, but got {values}")


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value
