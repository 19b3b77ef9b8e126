"""Input-adaptive hard-exit DARTS as a strategy: one relaxed training per lambda, all asked for at once."""

from collections.abc import Sequence

from aebnas.strategies.strategy import RelaxedJob, Strategy
from aebnas.strategies.trial import Trial


class AdaptiveDarts(Strategy):
    """For every lambda the hard networks of every form; both forms of a lambda come from one training."""

    def _propose(self) -> list[RelaxedJob]:
        jobs = [RelaxedJob(weight, form) for weight in self.spec.lambdas for form in self.spec.forms]
        return [job for job in jobs if job.key not in self.asked]

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Everything is learned inside the trainings."""
