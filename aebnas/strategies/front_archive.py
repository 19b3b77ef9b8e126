"""The Pareto front of the trials so far, updated as trials are added: its cost doesn't grow with their number."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from aebnas.core.metrics import Constraint, Objective
from aebnas.core.pareto import Floats, nondominated
from aebnas.strategies.trial import OperatingPoint, Trial

FrontPoint = tuple[Trial, OperatingPoint]

TRIALS_AT_ONCE = 256
"""Number of trials whose points are compared with the front together, so that memory stays flat."""


class FrontArchive:
    """Non-dominated operating points of the ok trials added so far that satisfy every constraint.

    Of points with equal objectives only that of the trial with the lowest number is a member. Trials may be added in
    any order and any grouping, with the same result.
    """

    def __init__(self, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> None:
        self.objectives, self.constraints = tuple(objectives), tuple(constraints)
        self._members: list[FrontPoint] = []  # sorted by trial number, and within a trial as its points are
        self._values_pm: Floats = np.zeros((0, len(self.objectives)))
        self._sorted: list[FrontPoint] | None = []

    @property
    def values(self) -> Floats:
        """Minimised objectives of the front, `[p, m]`, in any order."""
        return self._values_pm

    @property
    def points(self) -> list[FrontPoint]:
        """The front, sorted by the first objective."""
        if self._sorted is None:
            order = sorted(range(len(self._members)), key=lambda place: tuple(self._values_pm[place]))
            self._sorted = [self._members[place] for place in order]
        return list(self._sorted)

    def add(self, trials: Iterable[Trial]) -> bool:
        """Add trials; returns whether the front has changed."""
        rest, changed = iter(trials), False
        while some := list(islice(rest, TRIALS_AT_ONCE)):
            changed |= self._add(some)
        return changed

    def _add(self, trials: Sequence[Trial]) -> bool:
        new = [
            (trial, point)
            for trial in trials
            if trial.status == "ok"
            for point in trial.points
            if all(constraint.satisfied(point.metrics) for constraint in self.constraints)
        ]
        if not new:
            return False
        values_pm = np.concatenate([self._values_pm, minimised(new, self.objectives)])
        together = [*self._members, *new]
        # of equal rows `nondominated` marks the first, which must be that of the lowest number
        order = np.argsort([trial.number for trial, _ in together], kind="stable")
        kept = order[nondominated(values_pm[order])]
        if np.array_equal(np.sort(kept), np.arange(len(self._members))):
            return False
        self._members, self._values_pm, self._sorted = [together[i] for i in kept], values_pm[kept], None
        return True


def minimised(points: Sequence[FrontPoint], objectives: Sequence[Objective]) -> Floats:
    """Minimised objectives, `[p, m]`."""
    return np.array([[objective.minimised(point.metrics) for objective in objectives] for _, point in points])
