"""Random search: the baseline of every other strategy."""

from collections.abc import Sequence

from aebnas.strategies.strategy import MAX_MISSES, Job, Strategy
from aebnas.strategies.trial import Trial


class RandomSearch(Strategy):
    """Distinct random candidates, a population at a time, until the evaluations are used up."""

    gave_up = f"{MAX_MISSES:,} random candidates in a row were known already"

    def _propose(self) -> list[Job]:
        count = min(self.spec.population, self.spec.evaluations - len(self.asked))
        return [self.job(candidate, "random") for _, candidate in self._draw_new(count)]

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Random search learns nothing from trials."""
