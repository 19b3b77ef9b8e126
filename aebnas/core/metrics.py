"""Metrics and the goals set on them: objectives, constraints, AEBNAS's soft target.

Directions are converted here and nowhere else: everything called `minimised` is smaller when better.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aebnas.core.errors import SpecError, UserError
from aebnas.core.percentiles import MEAN, STATISTICS, TailMetric


@dataclass(frozen=True)
class Metric:
    """One figure of an operating point.

    `static` if it follows from the graph, before any evaluation. `cost` is the ExitTable's name of the cost per sample
    that it is a statistic of, "" for none; `by_device` if that cost must be predicted from a device profile.
    """

    direction: Literal["max", "min"]
    unit: str
    meaning: str
    static: bool = False
    cost: str = ""
    by_device: bool = False


MACS, LATENCY, ENERGY = "macs", "latency_ms", "energy_mj"
"""Costs to each exit that an ExitTable may hold, by name."""

ACCURACY, BALANCED, WORST_CLASS = "accuracy", "balanced_accuracy", "worst_class_accuracy"
"""Metrics of how often the predicted class is right."""


def _over_samples(cost: str, unit: str, meaning: str) -> dict[str, Metric]:
    """A metric for each statistic of a cost's distribution over samples."""
    meanings = {MEAN: f"mean {meaning}", "worst": f"maximum {meaning}"}
    return {
        str(TailMetric(cost, name)): Metric(
            "min", unit, meanings.get(name, f"{name[1:]}th percentile of the {meaning}"), cost=cost, by_device=True
        )
        for name in STATISTICS
    }


METRICS: dict[str, Metric] = {
    ACCURACY: Metric("max", "fraction", "share of samples classified correctly at the exit they leave by"),
    BALANCED: Metric("max", "fraction", "mean over classes of the share of a class's samples classified correctly"),
    WORST_CLASS: Metric("max", "fraction", "the least share of a class's samples classified correctly"),
    "avg_macs": Metric(
        "min", "MACs", "mean cost of a sample: backbone to its exit and every branch it passed", cost=MACS
    ),
    "avg_macs_taken_only": Metric(
        "min",
        "MACs",
        "mean cost of a sample: backbone to its exit and the branches its logits need",
        cost=MACS,
    ),
    "params": Metric("min", "parameters", "parameters of the network with every branch", static=True),
    "weight_bytes": Metric("min", "bytes", "bytes of the stored weights with every branch", static=True),
    "macs": Metric("min", "MACs", "cost of the whole network with every branch", static=True),
    "peak_memory_bytes": Metric(
        "min", "bytes", "most activation bytes alive at once, one sample at a time, every branch run", static=True
    ),
    **_over_samples(LATENCY, "ms", "predicted latency of a sample"),
    **_over_samples(ENERGY, "mJ", "modelled energy of a sample"),
}


def _check_metric(name: str) -> None:
    if name not in METRICS:
        close = difflib.get_close_matches(name, list(METRICS), n=1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        names = [metric for metric in METRICS if "@" not in metric]
        tails = f"{LATENCY} and {ENERGY} also followed by {', '.join(f'@{s}' for s in STATISTICS if s != MEAN)}"
        raise UserError(f"metric must be one of {', '.join(names)} ({tails}), but got '{name}'{hint}")


def by_device(metric: str) -> bool:
    """Whether a metric is predicted from a device profile."""
    return METRICS[metric].by_device


def tuned_cost(objectives: "Sequence[Objective]") -> str:
    """The cost that thresholds are optimised for: that of the first objective that is a statistic of one, else MACs."""
    return next((METRICS[o.metric].cost for o in objectives if METRICS[o.metric].cost), MACS)


def leading_accuracy(objectives: "Sequence[Objective]") -> str:
    """The first objective that is maximised, by which points are called accurate; accuracy where there is none."""
    return next((o.metric for o in objectives if METRICS[o.metric].direction == "max"), ACCURACY)


def tuned_accuracy(objectives: "Sequence[Objective]") -> str:
    """The accuracy that thresholds are optimised for: `accuracy` or `balanced_accuracy`, by the first objective that is
    maximised.

    The mean over classes is also what is optimised for the worst class, whose own accuracy can't be searched exit by
    exit: it isn't a sum over samples.
    """
    return ACCURACY if leading_accuracy(objectives) == ACCURACY else BALANCED


def shown_axes(objectives: "Sequence[Objective]") -> tuple[str, str]:
    """The objectives on the vertical and the horizontal axis of a front: the first that is maximised, and the first of
    the others that is minimised; where there is none, the first of those left."""
    names = [objective.metric for objective in objectives]
    leading = leading_accuracy(objectives)
    vertical = leading if leading in names else names[0]
    others = [name for name in names if name != vertical]
    return vertical, next((name for name in others if METRICS[name].direction == "min"), others[0])


def mean_of(cost: str) -> str:
    """The metric that is the mean of a cost over samples."""
    return "avg_macs" if cost == MACS else cost


@dataclass(frozen=True)
class Objective:
    """A metric to be optimised; raises UserError for a metric that isn't in METRICS."""

    metric: str

    def __post_init__(self) -> None:
        _check_metric(self.metric)

    @classmethod
    def parse(cls, text: str) -> "Objective":
        """Read an objective as written in a spec, such as `accuracy`."""
        return cls(text.strip())

    def minimised(self, metrics: Mapping[str, float]) -> float:
        """The metric's value, negated if more is better."""
        value = metrics[self.metric]
        return -value if METRICS[self.metric].direction == "max" else value


_CONSTRAINT = re.compile(r"\s*([^\s<>=]+)\s*(<=|>=)\s*([^\s<>=]+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric, in the metric's unit; raises UserError for a bound the metric cannot have."""

    metric: str
    sense: Literal["<=", ">="]
    bound: float

    def __post_init__(self) -> None:
        _check_metric(self.metric)
        if not (math.isfinite(self.bound) and self.bound >= 0):
            raise UserError(f"must bound {self.metric} by a finite number of at least 0, but got {self.bound}")
        if METRICS[self.metric].unit == "fraction" and self.bound > 1:
            raise UserError(f"must bound {self.metric} by a fraction in [0, 1], but got {self.bound:g}")

    def __str__(self) -> str:
        return f"{self.metric} {self.sense} {self.bound:g}"

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Read `metric <= number` or `metric >= number`; spaces don't matter."""
        match = _CONSTRAINT.fullmatch(text)
        if match is None:
            raise UserError(f"must read 'metric <= number' or 'metric >= number', but got '{text}'")
        metric, sense, number = match.groups()
        try:
            bound = float(number)
        except ValueError:
            raise UserError(f"must bound {metric} by a number, but got '{text}'") from None
        return cls(metric, "<=" if sense == "<=" else ">=", bound)

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Distance beyond the bound, relative to the bound; 0 where it is satisfied."""
        excess = metrics[self.metric] - self.bound
        if self.sense == ">=":
            excess = -excess
        return max(excess, 0.0) / max(abs(self.bound), 1e-12)

    def satisfied(self, metrics: Mapping[str, float]) -> bool:
        """Whether the bound is satisfied."""
        return self.violation(metrics) == 0.0


def check_constraints(constraints: Sequence[Constraint]) -> None:
    """Raise UserError if no value of some metric could satisfy all constraints."""
    for lower in (c for c in constraints if c.sense == ">="):
        for upper in (c for c in constraints if c.sense == "<=" and c.metric == lower.metric):
            if lower.bound > upper.bound:
                raise UserError(f"must be satisfiable together, but got '{lower}' and '{upper}'")


MAX_COMBINATIONS = 1_000_000
"""Above this number of threshold combinations a grid is made coarser; one of threshold genes is refused."""


@dataclass(frozen=True)
class SoftTarget:
    """AEBNAS's soft target: a cost should be near `value`, and a cost below it is penalised like one above it.

    Objectives are (error + weight * MAPE, MAPE) with MAPE = |cost - value| / value, both in percent. A budget is better
    given as a Constraint; this is for comparison with AEBNAS. `tunes_thresholds`: each architecture is scored under the
    threshold genes that are best in the first objective, as in AEBNAS. Raises UserError for a metric that isn't
    minimised, a value not above 0 or a negative weight.
    """

    metric: str
    value: float
    weight: float = 0.1
    tunes_thresholds: bool = False

    def __post_init__(self) -> None:
        _check_metric(self.metric)
        if METRICS[self.metric].direction == "max":
            raise SpecError("metric", f"must be one that is minimised, but got '{self.metric}'")
        if not (math.isfinite(self.value) and self.value > 0):
            raise SpecError("value", f"must be finite and above 0, but got {self.value}")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise SpecError("weight", f"must be finite and at least 0, but got {self.weight}")
        if self.tunes_thresholds and self.metric != "avg_macs":
            raise SpecError("metric", f"must be avg_macs where thresholds are tuned, but got '{self.metric}'")

    def minimised(self, metrics: Mapping[str, float]) -> tuple[float, float]:
        """(error + weight * MAPE, MAPE), both in percent."""
        mape_percent = abs(metrics[self.metric] - self.value) / self.value * 100.0
        error_percent = 100.0 * (1.0 - metrics[ACCURACY])
        return error_percent + self.weight * mape_percent, mape_percent
