"""The exit policy in a space's YAML: which criteria are tried, and how their thresholds are determined."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.space.fields import Criteria, Threshold, as_tuple, distinct

PATIENCE, DUAL, LEARNED = "patience", "dual", "learned"
LAST = "last"
"""Name of the final classifier among the sites of exits."""

STOP_THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)

Method = Literal["auto", "joint", "lagrangian", "value_iteration", "greedy", "fixed"]


class OptimiseSpec(Spec):
    """Thresholds optimised on the exit table, among quantiles of each exit's scores, 0 and never."""

    grid: Literal["quantiles"] = "quantiles"
    """Which threshold values are tried."""
    method: Method = "auto"
    """`joint` tries all combinations (with fewer quantiles per exit where there would be more than a million),
    `lagrangian` is coordinate ascent for a range of Lagrange multipliers of the cost, `auto` is `joint` where its grid
    is small enough, else `lagrangian`; `value_iteration` is DART's; `greedy` (exit by exit) and `fixed` (the same
    values at all exits) are for comparison."""
    per_exit: Annotated[int, Field(strict=True, ge=2, le=1000)] = 20
    """Quantiles tried for each exit."""
    max_points: Annotated[int, Field(strict=True, ge=1, le=1000)] = 20
    """Maximum number of operating points recorded of an architecture's front, evenly spaced over cost."""


class ThresholdsSpec(Spec):
    """Either `genes` or `optimise`.

    Both apply to calibrated probabilities: before thresholds are applied or found, each exit's logits are divided by a
    temperature that is fitted on the split `calibrate` (Guo et al. 2017), which every run has. A policy carries the
    temperatures of its network; a learned stop probability has none.
    """

    genes: Annotated[tuple[Threshold, ...], BeforeValidator(as_tuple)] | None = None
    """Each exit's threshold is a gene with these choices, as in AEBNAS."""
    optimise: OptimiseSpec | None = None
    """Thresholds are optimised for each architecture on held-out images."""

    @model_validator(mode="after")
    def _one_way(self) -> "ThresholdsSpec":
        if (self.genes is None) == (self.optimise is None):
            raise ValueError("must have either genes or optimise")
        if self.genes is not None:
            try:
                distinct(self.genes)
            except ValueError as error:
                raise SpecError("genes", f"{error}, but got {list(self.genes)}") from None
        return self


def _numbers_as_such(value: Any) -> Any:
    """Numbers of classes, which are text as keys of JSON, as numbers."""
    if not isinstance(value, dict):
        return value
    return {int(key) if isinstance(key, str) and key.isdecimal() else key: item for key, item in value.items()}


class PolicySpec(Spec):
    """The exit policy: criteria to choose from, and how thresholds are determined.

    Sites are named as in `exits.at`, or `last`, the final classifier.
    """

    criterion: Criteria = ("confidence",)
    """What must exceed an exit's threshold: `confidence`, `entropy`, `margin`, or the stop head's probability
    (`learned`). `dual` requires a stop probability above one of `stop_thresholds` and a confidence above the exit's
    threshold. With `patience` a sample leaves where several consecutive exits agree on the class; it has no thresholds,
    and which exits run is optimised."""
    patience: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=2, le=100)], ...],
        BeforeValidator(as_tuple, json_schema_input_type=int | list[int]),
        AfterValidator(distinct),
    ] = (2,)
    """Of `patience`: how many consecutive exits must agree."""
    stop_thresholds: Annotated[
        tuple[Annotated[float, Field(strict=True, ge=0, le=1)], ...],
        BeforeValidator(as_tuple, json_schema_input_type=float | list[float]),
        AfterValidator(distinct),
    ] = STOP_THRESHOLDS
    """Of `dual`: thresholds of the stop head's probability that are tried."""
    min_exit: str | None = None
    """The site before which no sample leaves."""
    min_exit_by_class: Annotated[
        dict[Annotated[int, Field(strict=True, ge=0)] | str, str],
        BeforeValidator(_numbers_as_such, json_schema_input_type=dict[str, str]),
    ] = Field(default_factory=dict)
    """The site before which no sample of a predicted class leaves, by the class's name or its number from 0, such as
    `{cat: stage2}`. Names are those of the experiment's data, so a search replaces them by numbers."""
    thresholds: ThresholdsSpec = ThresholdsSpec(optimise=OptimiseSpec())
    """How thresholds are determined."""

    @model_validator(mode="after")
    def _what_genes_can_say(self) -> "PolicySpec":
        if self.thresholds.genes is None:
            return self
        for rule in self.criterion:
            if not self.has_threshold_genes(rule):
                raise SpecError(
                    "criterion", f"must be of confidence, entropy, margin, learned with genes, but got '{rule}'"
                )
        return self

    @staticmethod
    def has_threshold_genes(rule: str) -> bool:
        """Whether a criterion is defined by one threshold per exit."""
        return rule not in (PATIENCE, DUAL)

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that exit tables must hold for these criteria."""
        return tuple(dict.fromkeys("confidence" if rule in (PATIENCE, DUAL) else rule for rule in self.criterion))

    @property
    def needs_stop_heads(self) -> bool:
        """Whether some criterion uses stop heads."""
        return LEARNED in self.criterion or DUAL in self.criterion

    @property
    def named_sites(self) -> dict[str, str]:
        """YAML path -> the site named there as a minimum exit."""
        named = {f"min_exit_by_class.{label}": site for label, site in self.min_exit_by_class.items()}
        return named if self.min_exit is None else {"min_exit": self.min_exit} | named
