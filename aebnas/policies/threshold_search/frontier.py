"""The accuracy-cost frontier of one network's policies, and the selection of one of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

P = TypeVar("P")


@dataclass(frozen=True)
class TunedPolicy(Generic[P]):
    """A policy with its accuracy (fraction) and mean cost on the table it was found on."""

    policy: P
    accuracy: float
    cost: float


@dataclass(frozen=True)
class Frontier(Generic[P]):
    """Policies of which none dominates another in accuracy and cost, cheapest first. Raises ValueError for none.

    `full_cost` is the mean cost where everything runs.
    """

    points: tuple[TunedPolicy[P], ...]
    full_cost: float

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a frontier must have at least one point, but got none")

    @classmethod
    def of(cls, found: Iterable[TunedPolicy[P]], full_cost: float) -> "Frontier[P]":
        """The undominated policies among those found; ties: the first."""
        found = list(found)
        indices = undominated(np.array([p.accuracy for p in found]), np.array([p.cost for p in found]))
        return cls(tuple(found[index] for index in indices), full_cost)

    def thinned(self, max_points: int) -> "Frontier[P]":
        """At most `max_points`, evenly spaced over the frontier with both ends (a single one is the cheapest)."""
        if len(self.points) <= max_points:
            return self
        spread = np.linspace(0, len(self.points) - 1, max_points).round().astype(int)
        return Frontier(tuple(self.points[index] for index in spread), self.full_cost)

    def within(self, budget: float) -> TunedPolicy[P]:
        """The most accurate policy whose mean cost is within a budget; the cheapest where none fits."""
        fitting = [point for point in self.points if point.cost <= budget]
        return fitting[-1] if fitting else self.points[0]

    def at_accuracy(self, target: float) -> TunedPolicy[P]:
        """The cheapest policy of at least this accuracy; the most accurate where none reaches it."""
        return next((point for point in self.points if point.accuracy >= target), self.points[-1])

    def best_for(self, beta: float) -> TunedPolicy[P]:
        """The best policy for a trade-off: the largest accuracy - beta * cost / full cost."""
        return max(self.points, key=lambda point: point.accuracy - beta * point.cost / self.full_cost)


def undominated(accuracy_t: np.ndarray, cost_t: np.ndarray) -> np.ndarray:
    """Indices of the undominated points, cheapest first; ties: the first."""
    order = np.lexsort((-accuracy_t, cost_t))
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], accuracy_t[order][:-1]]))
    return order[accuracy_t[order] > best_before]


def frontier_of(scored: ThresholdProblem, thresholds_tk: np.ndarray) -> Frontier[ExitPolicy]:
    """The frontier of given threshold vectors `[t, k]` on a table."""
    figures = scored.evaluate(thresholds_tk)
    undominated_rows = undominated(figures.right_t, figures.cost_t)
    points = tuple(
        TunedPolicy(scored.policy(thresholds_tk[row]), float(figures.accuracy_t[row]), float(figures.cost_t[row]))
        for row in undominated_rows
    )
    return Frontier(points, scored.full_cost)


def merged(frontiers: Iterable[Frontier[P]]) -> Frontier[P]:
    """One frontier from several of the same network; ties: the first."""
    frontiers = list(frontiers)
    return Frontier.of((point for each in frontiers for point in each.points), frontiers[0].full_cost)
