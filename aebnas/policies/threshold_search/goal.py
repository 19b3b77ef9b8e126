"""The user's goal, by which a policy is selected from the frontier of a network's policies."""

import math
import re
from dataclasses import dataclass

from aebnas.core.errors import UserError
from aebnas.core.metrics import MACS, mean_of
from aebnas.policies.threshold_search.frontier import Frontier, TunedPolicy
from aebnas.runtime.exit_policy import ExitPolicy

_BUDGET = re.compile(r"\s*([^\s=]+)\s*=\s*([^\s=]+)\s*")


@dataclass(frozen=True)
class Goal:
    """Exactly one of: a target accuracy, a budget for a mean cost, a trade-off beta, a risk guarantee.

    `risk` is (epsilon, delta): with probability of at least 1 - delta at most a share epsilon of inputs is wrong at an
    early exit and right at the last. `cost` is the cost traded against accuracy. Raises UserError for none, for several
    and for values out of range.
    """

    accuracy_target: float | None = None
    budget: float | None = None
    beta: float | None = None
    risk: tuple[float, float] | None = None
    cost: str = MACS

    def __post_init__(self) -> None:
        given = [name for name in ("accuracy_target", "budget", "beta", "risk") if getattr(self, name) is not None]
        if len(given) != 1:
            options = "--accuracy-target, --budget, --beta, --risk"
            got = " and ".join(f"--{name.replace('_', '-')}" for name in given) or "none"
            raise UserError(f"exactly one of {options} must be given, but got {got}")
        if self.accuracy_target is not None and not 0.0 < self.accuracy_target <= 1.0:
            raise UserError(f"--accuracy-target must be a fraction in (0, 1], but got {self.accuracy_target:g}")
        if self.budget is not None and not (math.isfinite(self.budget) and self.budget > 0):
            raise UserError(f"--budget must be a finite number above 0, but got {self.budget:g}")
        if self.beta is not None and not (math.isfinite(self.beta) and self.beta >= 0):
            raise UserError(f"--beta must be a finite number of at least 0, but got {self.beta:g}")
        if self.risk is not None and not all(0.0 < value < 1.0 for value in self.risk):
            raise UserError(f"--risk must be two numbers in (0, 1), but got {self.risk[0]:g},{self.risk[1]:g}")

    @classmethod
    def read(
        cls,
        accuracy_target: float | None = None,
        budget: str | None = None,
        beta: float | None = None,
        risk: str | None = None,
        cost: str = MACS,
    ) -> "Goal":
        """Parse command-line values: `--budget avg_macs=8e6`, `--risk 0.01,0.05`; raises UserError for invalid ones."""
        bound = None
        if budget is not None:
            match = _BUDGET.fullmatch(budget)
            number = None if match is None else _number(match.group(2))
            if match is None or number is None:
                raise UserError(f"--budget must read METRIC=NUMBER, such as avg_macs=8e6, but got '{budget}'")
            cost, bound = match.group(1).removeprefix("avg_"), number
        promise = None
        if risk is not None:
            numbers = [_number(part) for part in risk.split(",")]
            if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
                raise UserError(f"--risk must read EPSILON,DELTA, such as 0.01,0.05, but got '{risk}'")
            promise = (numbers[0], numbers[1])
        return cls(accuracy_target, bound, beta, promise, cost)

    def choose(self, found: Frontier[ExitPolicy]) -> TunedPolicy[ExitPolicy]:
        """The frontier's policy for the goal, which must not be a risk: that requires `certify`."""
        if self.accuracy_target is not None:
            return found.at_accuracy(self.accuracy_target)
        if self.budget is not None:
            return found.within(self.budget)
        assert self.beta is not None, "a policy for a risk goal is not selected from a frontier"
        return found.best_for(self.beta)

    def missed(self, found: Frontier[ExitPolicy]) -> str:
        """One sentence where no policy of the frontier reaches the goal; otherwise an empty string."""
        chosen = None if self.risk is not None else self.choose(found)
        if chosen is not None and self.accuracy_target is not None and chosen.accuracy < self.accuracy_target:
            return (
                f"No policy reaches an accuracy of {self.accuracy_target:g} on the samples that thresholds are found "
                f"on; the most accurate has {chosen.accuracy:.4f} and is used."
            )
        if chosen is not None and self.budget is not None and chosen.cost > self.budget:
            return (
                f"No policy is within {mean_of(self.cost)} {self.budget:g}; the cheapest has "
                f"{chosen.cost:.6g} and is used."
            )
        return ""

    def __str__(self) -> str:
        if self.accuracy_target is not None:
            return f"accuracy >= {self.accuracy_target:g}"
        if self.budget is not None:
            return f"{mean_of(self.cost)} <= {self.budget:g}"
        if self.beta is not None:
            return f"beta {self.beta:g}"
        assert self.risk is not None
        return f"risk <= {self.risk[0]:g} with probability {1 - self.risk[1]:g}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
