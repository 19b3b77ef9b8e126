"""Input-adaptive hard-exit DARTS as a strategy: one relaxed training per lambda, all in the first generation."""

from collections.abc import Sequence

from aebnas.strategies.strategy import RelaxedJob, Strategy
from aebnas.strategies.trial import Trial


class AdaptiveDarts(Strategy):
    """For each lambda a job for each form of hard network; both forms of a lambda are extracted from one training."""

    def _propose(self) -> list[RelaxedJob]:
        jobs = [RelaxedJob(weight, form) for weight in self.spec.lambdas for form in self.spec.forms]
        return [job for job in jobs if job.key not in self.asked]

    def _learn(self, trials: Sequence[Trial]) -> None:
        """The strategy learns nothing: the search takes place inside the trainings."""
