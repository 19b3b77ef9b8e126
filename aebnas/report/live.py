"""The live line of a search: trials by status, speed, and hypervolume of the front so far."""

import time

from aebnas.report.tensorboard import Scalars
from aebnas.run.hypervolume import Growth
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.trial import Trial

PAUSE = 20
"""The hypervolume is computed again after this multiple of its computing time, which is long with many objectives."""


class LiveSearch:
    """Makes the line to be shown after each trial, and writes scalars for TensorBoard."""

    def __init__(self, facts: RunFacts, scalars: Scalars) -> None:
        self.growth, self.scalars = Growth(facts), scalars
        self.count = {"ok": 0, "infeasible": 0, "failed": 0}
        self.new = 0
        self.hypervolume = 0.0
        self.started = self.due = time.monotonic()

    def add(self, trial: Trial, is_new: bool = True) -> str:
        """The line after this trial; a trial of an earlier session (`is_new` False) doesn't count in the speed."""
        self.growth.add(trial)
        self.count[trial.status] += 1
        self.new += is_new
        now = time.monotonic()
        if now >= self.due:
            self.hypervolume = self.growth.hypervolume
            self.due = now + PAUSE * (time.monotonic() - now)
        per_second = self.new / max(now - self.started, 1e-9)
        counts = ", ".join(f"{count} {status}" for status, count in self.count.items())
        self.scalars.write(
            sum(self.count.values()),  # trials so far
            {
                "search/hypervolume": self.hypervolume,
                "search/front_points": self.growth.size,
                "search/failed": self.count["failed"],
                "search/candidates_per_second": per_second,
            },
        )
        speed = f"{per_second:.2g} candidates/s" if self.new else "from an earlier session"
        return f"{counts}, {speed}, front {self.growth.size}, hypervolume {self.hypervolume:.4f}"
