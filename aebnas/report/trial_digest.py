"""What reports show of a run's trials, gathered in one pass: memory stays small, however many trials there are."""

from array import array
from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from aebnas.core.metrics import shown_axes
from aebnas.report.trial_counts import TrialCounts
from aebnas.run.hypervolume import GrowthCurve
from aebnas.run.pick_records import picked_ids
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.front_archive import FrontArchive, FrontPoint
from aebnas.strategies.trial import Trial


def counts_and_front(facts: RunFacts, trials: Iterable[Trial]) -> tuple[TrialCounts, list[FrontPoint]]:
    """Counts of trials, sorted by number, and their front."""
    counts, archive = TrialCounts(), FrontArchive(facts.objectives, facts.constraints)
    archive.add(map(counts.add, trials))
    return counts, archive.points


class TrialDigest:
    """Counts, front, growth and points of trials, sorted by number.

    `x` and `y` are the values of all points in the metrics `horizontal` and `vertical`. `others` is an evenly spaced
    subset, of about `kept` points, of those that are not on the front (all of them if there are fewer); their trials
    hold no other point. `picked` are the points that may have a record.
    """

    def __init__(self, facts: RunFacts, trials: Collection[Trial], kept: int) -> None:
        self.vertical, self.horizontal = shown_axes(facts.objectives)
        self.counts = TrialCounts()
        self.x, self.y = array("d"), array("d")
        self.picked: list[FrontPoint] = []
        self._growth = GrowthCurve(facts, len(trials))
        self._names = set(picked_ids(facts.run))
        self._architectures = {name.rpartition("-")[0] for name in self._names}
        self._kept, self._every, self._some = kept, 1, list[FrontPoint]()
        for trial in trials:
            self._add(self.counts.add(trial))

    @property
    def points_total(self) -> int:
        """Number of operating points of all trials."""
        return len(self.x)

    @property
    def front(self) -> list[FrontPoint]:
        """The front, sorted by the first objective."""
        return self._growth.growth.front.points

    @property
    def growth(self) -> dict[str, list[float]]:
        """The columns of the growth curve."""
        return self._growth.columns

    @property
    def others(self) -> list[FrontPoint]:
        """Up to `kept` points besides the front."""
        on_front = {point.id for _, point in self.front}
        others = [pair for pair in self._some if pair[1].id not in on_front]
        places = np.linspace(0, len(others) - 1, min(len(others), self._kept)).round().astype(int)
        return [others[place] for place in places]

    def _add(self, trial: Trial) -> None:
        self._growth.add(trial)
        if trial.architecture.id in self._architectures:
            self.picked += [(trial, point) for point in trial.points if point.id in self._names]
        for point in trial.points:
            if len(self.x) % self._every == 0:
                self._some.append((replace(trial, points=(point,)), point))
            self.x.append(point.metrics[self.horizontal])
            self.y.append(point.metrics[self.vertical])
        if len(self._some) > 2 * (self._kept + self._growth.growth.size):
            self._some, self._every = self._some[::2], 2 * self._every
