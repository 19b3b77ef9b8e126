"""Counts of a run's trials, gathered one by one. Imports no torch."""

from collections import Counter

from aebnas.strategies.trial import Trial


class TrialCounts:
    """Numbers of trials, their seconds, and why trials failed."""

    def __init__(self) -> None:
        self.status: Counter[str] = Counter()
        self.seconds = 0.0
        self.failures: Counter[str] = Counter()
        self.first_failed: Trial | None = None

    @property
    def total(self) -> int:
        """Number of trials."""
        return self.status.total()

    def add(self, trial: Trial) -> Trial:
        """Count a trial, and return it."""
        self.status[trial.status] += 1
        self.seconds += trial.seconds
        if trial.status == "failed":
            self.failures[trial.reason] += 1
            self.first_failed = self.first_failed or trial
        return trial
