"""When to stop: the ExitPolicy, which composes rules.

A sample leaves at an exit if its score is **greater than** the exit's threshold and every rule allows it. An exit can
be switched off (`None`, written `never` in YAML).

Everything is expressed in tensor methods, so a policy can be read and written without loading torch.
Legend: n samples, c classes, e exits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from .difficulty import Difficulty
from .exit_rule import ExitObservation, ExitRule, Streak
from .gate_rules import MinExit, MinExitByClass, Patience, StopHeads
from .score_rules import FixedThresholds, Score
from .threshold_rules import Coefficients, DifficultyBins, DifficultyOffset

if TYPE_CHECKING:
    from torch import Tensor

RULE_KINDS: tuple[type[ExitRule], ...] = (
    Patience,
    StopHeads,
    MinExit,
    MinExitByClass,
    DifficultyBins,
    Coefficients,
    DifficultyOffset,
)
"""The rules that a policy can have besides score and thresholds, in the order in which they are applied."""

KEYS = (
    *("criterion", "thresholds", "patience", "stop_thresholds", "min_exit", "min_exit_by_class", "temperatures"),
    *("coefficients", "difficulty", "beta_diff", "difficulty_edges", "binned_thresholds"),
)
"""The keys of a policy's JSON in order. The ids of operating points depend on the order: never change it."""

Rule = TypeVar("Rule", bound=ExitRule)


@dataclass(frozen=True)
class ExitPolicy:
    """A score, one threshold for every exit except the last, at which all remaining samples leave, and further `rules`,
    at most one of a kind.

    `criterion` and `temperatures [e]` (empty: unscaled logits) determine the score, see `Score`; for `thresholds
    [e - 1]` see `FixedThresholds`. Rules are sorted in the order of `RULE_KINDS`, and neutral ones are dropped, so that
    policies of the same rules are equal. Raises ValueError for invalid values.
    """

    criterion: str
    thresholds: tuple[float | None, ...]
    temperatures: tuple[float, ...] = ()
    rules: tuple[ExitRule, ...] = ()

    def __post_init__(self) -> None:
        kinds = [type(rule).__name__ for rule in self.rules]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"rules must be of different kinds, but got {', '.join(kinds)}")
        ordered = sorted(
            (rule for rule in self.rules if not rule.neutral), key=lambda rule: RULE_KINDS.index(type(rule))
        )
        object.__setattr__(self, "rules", tuple(ordered))
        for part in self.parts:
            part.check(len(self.thresholds))
        if len({part.estimator for part in self.parts} - {None}) > 1:
            raise ValueError("all rules must use the same difficulty, but got different ones")

    @cached_property
    def score(self) -> Score:
        """The rule that scores an exit's logits."""
        return Score(self.criterion, self.temperatures)

    @cached_property
    def fixed(self) -> FixedThresholds:
        """The rule that holds one threshold per exit."""
        return FixedThresholds(self.thresholds)

    @cached_property
    def parts(self) -> tuple[ExitRule, ...]:
        """All rules, those of score and thresholds first."""
        return self.score, self.fixed, *self.rules

    def find(self, kind: type[Rule]) -> Rule | None:
        """The policy's rule of a kind, if it has one."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def with_rules(self, *rules: ExitRule) -> ExitPolicy:
        """The policy with these rules, which replace its rules of the same kinds."""
        kinds = {type(rule) for rule in rules}
        return replace(self, rules=(*(rule for rule in self.rules if type(rule) not in kinds), *rules))

    @property
    def plain(self) -> bool:
        """Whether only scores of unscaled logits and thresholds decide."""
        return not (self.temperatures or self.rules)

    @property
    def label(self) -> str:
        """The criterion and the further rules, in a few words."""
        return " + ".join(dict.fromkeys(part.label for part in self.parts if part.label))

    @property
    def sentences(self) -> list[str]:
        """One sentence for each rule that decides besides score and thresholds."""
        return [part.sentence for part in self.parts if part.sentence]

    def threshold_text(self, exit_index: int) -> str:
        """The threshold of an exit as it is printed: `always` for the last, `never` for one that doesn't run."""
        if exit_index >= len(self.thresholds):
            return "always"
        text = "never"
        for part in self.parts if self.runs(exit_index) else ():
            text = part.threshold_text(exit_index, text)
        return text

    @cached_property
    def needs_stop_heads(self) -> bool:
        """Whether decisions use stop heads."""
        return any(part.needs_stop_heads for part in self.parts)

    @cached_property
    def needs_classes(self) -> bool:
        """Whether decisions use the classes that exits predict."""
        return any(part.needs_classes for part in self.parts)

    @cached_property
    def difficulty(self) -> Difficulty | None:
        """The estimator of the images' difficulty, where decisions use it."""
        return next((part.estimator for part in self.parts if part.estimator is not None), None)

    @cached_property
    def by_score(self) -> bool:
        """Whether at an exit that runs only the score and one threshold decide."""
        return all(part.score_only for part in self.parts)

    def runs(self, exit_index: int) -> bool:
        """Whether the exit runs; where no sample can leave it doesn't. Its branch then costs nothing, except in boosted
        networks, where later exits add to its logits."""
        return exit_index >= len(self.thresholds) or self._early_runs[exit_index]

    @cached_property
    def _early_runs(self) -> tuple[bool, ...]:
        return tuple(all(part.may_run(index) for part in self.parts) for index in range(len(self.thresholds)))

    @cached_property
    def _threshold_rules(self) -> tuple[ExitRule, ...]:
        return tuple(rule for rule in self.rules if rule.threshold_per_sample)

    def observe(
        self, exit_index: int, logits_nc: Tensor, stop_logit_n: Tensor | None = None, alpha_n: Tensor | None = None
    ) -> ExitObservation:
        """The values that decisions at this exit depend on, from its logits `[n, c]`, its stop head's output `[n]` and
        the images' difficulty `[n]`.

        Raises ValueError where the score needs stop heads and there are none.
        """
        stop_n = None if stop_logit_n is None else stop_logit_n.float().sigmoid()
        score_n = self.score.of(exit_index, logits_nc, stop_n)
        return ExitObservation(score_n, logits_nc.argmax(-1) if self.needs_classes else None, stop_n, alpha_n)

    def stops_single_sample(self, exit_index: int, logits_1c: Tensor, stop_logit_1: Tensor | None = None) -> bool:
        """The decision of `stops` for one sample at an exit that runs, where the policy is `by_score`: faster, since at
        batch size 1 a decision must not take the time that leaving saves. Raises ValueError as `observe`."""
        stop_1 = None
        if self.needs_stop_heads and stop_logit_1 is not None:
            stop_1 = stop_logit_1.float().sigmoid()
        return self.fixed.exceeded(exit_index, self.score.of_single_sample(exit_index, logits_1c, stop_1))

    def stops(
        self, exit_index: int, observation: ExitObservation, streak: Streak | None = None
    ) -> tuple[Tensor, Streak | None]:
        """Which samples leave at this exit, bool `[n]`, and their streaks after it.

        `streak` is that after the previous exit that ran (None at the first one). Raises ValueError where a value that
        a rule uses wasn't observed.
        """
        if exit_index >= len(self.thresholds):
            return observation.score_n.bool() | True, streak
        if not self.runs(exit_index):
            return observation.score_n.bool() & False, streak
        stop_n = observation.score_n > self.threshold(exit_index, observation)
        for rule in self.rules:
            streak = rule.follow(observation, streak)
            stop_n = rule.allow(exit_index, stop_n, observation, streak)
        return stop_n, streak

    def threshold(self, exit_index: int, observation: ExitObservation) -> float | Tensor:
        """The effective threshold at an exit that runs: one number, or `[n]`, one for each sample, 1 for never."""
        value = self.fixed.number(exit_index)
        if not self._threshold_rules:
            return value
        score_n = observation.score_n
        value_n = score_n.new_full((len(score_n),), value)
        for rule in self._threshold_rules:
            value_n = rule.threshold(exit_index, value_n, observation)
        return value_n.clamp(0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary without values that are at their defaults; a `never` exit is null."""
        value: dict[str, Any] = {}
        for part in self.parts:
            value |= part.to_json()
        return {key: value[key] for key in KEYS if key in value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ExitPolicy:
        """Read what `to_json` wrote; raises ValueError for invalid values and unknown keys."""
        if unknown := sorted(set(value) - set(KEYS)):
            raise ValueError(f"a policy's keys must be among {', '.join(KEYS)}, but got {', '.join(unknown)}")
        score = Score.from_json(value)
        rules = tuple(rule for kind in RULE_KINDS if (rule := kind.from_json(value)) is not None)
        return cls(score.criterion, FixedThresholds.from_json(value).values, score.temperatures, rules)
