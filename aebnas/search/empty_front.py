"""Searches that end without a point on the front: they are finished, and say why."""

import math
from collections import Counter
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.run.events import Listen
from aebnas.run.front_files import why_empty
from aebnas.run.session import RunSession
from aebnas.strategies.trial import Trial


class NothingFeasible(UserError):
    """The search of a run is finished, and no trial is feasible."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder}: {why}")


class EmptyFrontReason:
    """Why none of the trials is on the front: the one with the smallest violation, or the most frequent failure."""

    def __init__(self) -> None:
        self.trials = 0
        self.closest: Trial | None = None
        self.failures: Counter[str] = Counter()

    def add(self, trial: Trial) -> Trial:
        """Take a trial into account, and return it."""
        self.trials += 1
        if trial.status == "failed":
            self.failures[trial.reason] += 1
        elif trial.status == "infeasible" and (self.closest is None or _distance(trial) < _distance(self.closest)):
            self.closest = trial
        return trial

    def text(self) -> str:
        """One line, with what to do."""
        if self.closest is not None:
            return (
                f"no trial of {self.trials:,} satisfies the constraints; the closest (number {self.closest.number}): "
                f"{self.closest.reason}; relax that constraint and give --out another folder"
            )
        if not self.failures:
            return "no trial was made"
        reason, count = self.failures.most_common(1)[0]
        return (
            f"all {self.trials:,} trials failed; the most frequent reason ({count:,} trials): {reason}; "
            "mend its cause and give --out another folder"
        )


def _distance(trial: Trial) -> float:
    return trial.violation or math.inf  # 0 where it isn't known


def check_not_empty(session: RunSession, listen: Listen) -> None:
    """Raise NothingFeasible if the run is finished and its front is empty, after its reports were written again: a kill
    may have come before them."""
    empty = why_empty(session.run)
    if empty is not None:
        with listen(session.facts) as events:
            events.search_finished()
        raise NothingFeasible(session.run.folder, empty)
