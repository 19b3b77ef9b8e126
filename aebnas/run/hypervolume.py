"""Hypervolume of a front, and its growth over trials."""

from collections.abc import Sequence

import numpy as np

from aebnas.core.pareto import hypervolume, nondominated
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import Trial

CURVE_PLACES = 200
"""Maximum number of points of a curve: with many objectives each hypervolume is expensive."""


class Growth:
    """The front of the trials so far, updated with every trial that is added."""

    def __init__(self, facts: RunFacts) -> None:
        self.objectives, self.constraints = facts.objectives, facts.constraints
        # the minimised value of accuracy is its negation; adding 1 gives the error
        self.offset_m = np.array([0.0 if o.metric in facts.max_costs else 1.0 for o in self.objectives])
        self.scale_m = np.array([facts.max_costs.get(o.metric, 1.0) for o in self.objectives])
        self.front_pm = np.zeros((0, len(self.objectives)))
        self._hypervolume: float | None = 0.0

    @property
    def size(self) -> int:
        """Points on the front."""
        return len(self.front_pm)

    @property
    def hypervolume(self) -> float:
        """Normalised, see `normalised_hypervolume`."""
        if self._hypervolume is None:
            self._hypervolume = self._volume(self.front_pm)
        return self._hypervolume

    def add(self, trial: Trial) -> bool:
        """Add a trial; returns whether the front has changed."""
        if trial.status != "ok":
            return False
        rows = [
            [objective.minimised(point.metrics) for objective in self.objectives]
            for point in trial.points
            if all(constraint.satisfied(point.metrics) for constraint in self.constraints)
        ]
        if not rows:
            return False
        together_pm = np.concatenate([self.front_pm, np.array(rows)])
        kept_p = nondominated(together_pm)
        if not kept_p[self.size :].any():
            return False
        self.front_pm, self._hypervolume = together_pm[kept_p], None
        return True

    def volume(self, points: Sequence[FrontPoint]) -> float:
        """Normalised hypervolume of other points."""
        return self._volume(np.array([[o.minimised(point.metrics) for o in self.objectives] for _, point in points]))

    def _volume(self, front_pm: np.ndarray) -> float:
        return hypervolume((front_pm + self.offset_m) / self.scale_m, np.ones(len(self.objectives)))


def growth_curve(facts: RunFacts, trials: Sequence[Trial]) -> dict[str, list[float]]:
    """Columns `trials`, `front_points` and `hypervolume` of the front after evenly spaced numbers of trials."""
    growth = Growth(facts)
    curve: dict[str, list[float]] = {"trials": [], "front_points": [], "hypervolume": []}
    places = set(np.linspace(1, len(trials), min(len(trials), CURVE_PLACES)).round().astype(int).tolist())
    for count, trial in enumerate(trials, start=1):
        growth.add(trial)
        if count in places:
            curve["trials"].append(count)
            curve["front_points"].append(growth.size)
            curve["hypervolume"].append(growth.hypervolume)
    return curve


def normalised_hypervolume(facts: RunFacts, points: Sequence[FrontPoint]) -> float:
    """Hypervolume with reference (1, 1, ...) of the error and of costs divided by their maximum in the space."""
    return Growth(facts).volume(points) if points else 0.0
