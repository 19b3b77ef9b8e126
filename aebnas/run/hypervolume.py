"""Hypervolume of a front, and its growth over trials."""

from collections.abc import Sequence

import numpy as np

from aebnas.core.pareto import hypervolume
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.front_archive import FrontArchive, FrontPoint
from aebnas.strategies.trial import Trial

CURVE_PLACES = 200
"""Maximum number of points of a curve: with many objectives each hypervolume is expensive."""


class Growth:
    """The front of the trials so far, updated with every trial that is added, and its hypervolume."""

    def __init__(self, facts: RunFacts) -> None:
        self.objectives = facts.objectives
        # the minimised value of accuracy is its negation; adding 1 gives the error
        self.offset_m = np.array([0.0 if o.metric in facts.max_costs else 1.0 for o in self.objectives])
        self.scale_m = np.array([facts.max_costs.get(o.metric, 1.0) for o in self.objectives])
        self.front = FrontArchive(facts.objectives, facts.constraints)
        self._hypervolume: float | None = 0.0

    @property
    def size(self) -> int:
        """Points on the front."""
        return len(self.front.values)

    @property
    def hypervolume(self) -> float:
        """Normalised, see `normalised_hypervolume`."""
        if self._hypervolume is None:
            self._hypervolume = self._volume(self.front.values)
        return self._hypervolume

    def add(self, trial: Trial) -> bool:
        """Add a trial; returns whether the front has changed."""
        if not self.front.add([trial]):
            return False
        self._hypervolume = None
        return True

    def volume(self, points: Sequence[FrontPoint]) -> float:
        """Normalised hypervolume of other points."""
        return self._volume(np.array([[o.minimised(point.metrics) for o in self.objectives] for _, point in points]))

    def _volume(self, front_pm: np.ndarray) -> float:
        return hypervolume((front_pm + self.offset_m) / self.scale_m, np.ones(len(self.objectives)))


class GrowthCurve:
    """Columns `trials`, `front_points` and `hypervolume` of the front after evenly spaced numbers of trials.

    `total` is the number of trials that will be added.
    """

    def __init__(self, facts: RunFacts, total: int) -> None:
        self.growth = Growth(facts)
        self.columns: dict[str, list[float]] = {"trials": [], "front_points": [], "hypervolume": []}
        self._count = 0
        self._places = set(np.linspace(1, total, min(total, CURVE_PLACES)).round().astype(int).tolist())

    def add(self, trial: Trial) -> None:
        """Add the next trial."""
        self._count += 1
        self.growth.add(trial)
        if self._count in self._places:
            self.columns["trials"].append(self._count)
            self.columns["front_points"].append(self.growth.size)
            self.columns["hypervolume"].append(self.growth.hypervolume)


def normalised_hypervolume(facts: RunFacts, points: Sequence[FrontPoint]) -> float:
    """Hypervolume with reference (1, 1, ...) of the error and of costs divided by their maximum in the space."""
    return Growth(facts).volume(points) if points else 0.0
