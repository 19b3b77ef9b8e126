"""How a strategy scores a trial: minimised objectives, and violation of constraints."""

import math
import sys
from dataclasses import dataclass

import numpy as np

from aebnas.core.metrics import Constraint, Objective, SoftTarget
from aebnas.core.pareto import Floats
from aebnas.strategies.trial import OperatingPoint, Trial


@dataclass(frozen=True)
class Fitness:
    """The goal of a search; the two objectives of a soft target, if there is one, replace the named ones.

    Raises ValueError without objectives.
    """

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    target: SoftTarget | None = None

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ValueError("objectives must name at least one metric, but got none")

    @property
    def size(self) -> int:
        """Number of minimised objectives, m."""
        return len(self.objectives) if self.target is None else 2

    def minimised(self, point: OperatingPoint) -> tuple[float, ...]:
        """The vector to minimise, `[m]`."""
        if self.target is not None:
            return self.target.minimised(point.metrics)
        return tuple(objective.minimised(point.metrics) for objective in self.objectives)

    def feasible_points(self, trial: Trial) -> Floats:
        """Minimised vectors of the trial's points that satisfy every constraint, `[k, m]`; k is 0 unless it is ok."""
        points = trial.points if trial.status == "ok" else ()
        feasible = [self.minimised(point) for point in points if self._excess(point) == 0.0]
        return np.array(feasible, dtype=float).reshape(len(feasible), self.size)

    def violation(self, trial: Trial) -> float:
        """Minimum over points of the relative violation summed over constraints; infinite if the trial failed."""
        if trial.status == "failed":
            return math.inf
        if trial.status == "infeasible":
            return trial.violation or sys.float_info.max  # unknown: ranked after every known one, before failures
        return min(self._excess(point) for point in trial.points)

    def _excess(self, point: OperatingPoint) -> float:
        return sum(constraint.violation(point.metrics) for constraint in self.constraints)
