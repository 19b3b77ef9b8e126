"""Hypervolume: of a front, and how it grows trial by trial."""

from collections.abc import Sequence

import numpy as np

from aebnas.core.metrics import METRICS
from aebnas.core.pareto import hypervolume, nondominated
from aebnas.cost.memory import peak_memory
from aebnas.run.session import RunSession
from aebnas.search.plan import metric_bounds
from aebnas.space.lowering import lower
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import Trial

CURVE_PLACES = 200
"""At most so many places of a curve: with many objectives each hypervolume takes its time."""


class Growth:
    """The front of the trials so far, kept up with every trial that is added."""

    def __init__(self, session: RunSession) -> None:
        experiment = session.experiment
        self.objectives, self.constraints = experiment.parsed_objectives(), experiment.parsed_constraints()
        better_is_more = [METRICS[objective.metric].direction == "max" for objective in self.objectives]
        # minimised is the negated accuracy, so that one added to it is the error
        self.offset_m = np.array([1.0 if more else 0.0 for more in better_is_more])
        self.scale_m = np.array(
            [
                1.0 if more else greatest(session, objective.metric)
                for more, objective in zip(better_is_more, self.objectives, strict=True)
            ]
        )
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
        """Take in a trial; says whether the front has changed."""
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


def growth_curve(session: RunSession, trials: Sequence[Trial]) -> dict[str, list[float]]:
    """Columns `trials`, `front_points` and `hypervolume`: the front after so many trials, evenly spaced."""
    growth = Growth(session)
    curve: dict[str, list[float]] = {"trials": [], "front_points": [], "hypervolume": []}
    places = set(np.linspace(1, len(trials), min(len(trials), CURVE_PLACES)).round().astype(int).tolist())
    for count, trial in enumerate(trials, start=1):
        growth.add(trial)
        if count in places:
            curve["trials"].append(count)
            curve["front_points"].append(growth.size)
            curve["hypervolume"].append(growth.hypervolume)
    return curve


def normalised_hypervolume(session: RunSession, points: Sequence[FrontPoint]) -> float:
    """Hypervolume with reference (1, 1, ...): error as it is, costs over the space's greatest."""
    return Growth(session).volume(points) if points else 0.0


def greatest(session: RunSession, metric: str) -> float:
    """The greatest value of a cost metric in the space (of what varies, that of a sample that runs everything).

    Where the space doesn't tell it, that of its largest network.
    """
    bounds = metric_bounds(session.space.spec, metric, session.profile, session.experiment.ships_stop_heads)
    if bounds is not None:
        return bounds.upper
    graph = session.candidate_cost_model.charged(lower(session.space.extreme(largest=True)))
    if cost := METRICS[metric].cost:
        return session.candidate_cost_model.exit_costs([graph])[0][cost].total
    return float(peak_memory(graph)[-1])
