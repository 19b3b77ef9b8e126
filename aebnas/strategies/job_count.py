"""How many different jobs a space has for a strategy: a search can't have more, whatever its spec asks for."""

from aebnas.core.metrics import SoftTarget
from aebnas.space.size import count_architectures, count_candidates
from aebnas.space.spec import SpaceSpec
from aebnas.strategies.strategy_spec import StrategySpec


def count_jobs(strategy: StrategySpec, space: SpaceSpec, target: SoftTarget | None) -> int:
    """Number of different jobs: candidates, or architectures where thresholds are found for each; for `adaptive_darts`
    its trainings, which don't depend on the space."""
    if strategy.name == "adaptive_darts":
        return strategy.evaluations
    finds_thresholds = target is not None and target.tunes_thresholds
    return count_architectures(space) if finds_thresholds else count_candidates(space)


def size_note(strategy: StrategySpec, space: SpaceSpec, target: SoftTarget | None) -> str | None:
    """A line for a user whose spec asks for more jobs than the space has; None if it doesn't."""
    jobs = count_jobs(strategy, space, target)
    if jobs >= strategy.evaluations:
        return None
    return (
        f"the space has only {jobs:,} different candidate{'' if jobs == 1 else 's'}, so the search ends after at most "
        f"{jobs:,} of {strategy.evaluations:,} trials (strategy.population x strategy.generations)"
    )
