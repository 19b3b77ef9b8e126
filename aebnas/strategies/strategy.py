"""The contract of every strategy: `ask` for a generation of jobs, `tell` their trials.

A strategy knows no Ray, no torch and no disk, and draws only from the generator it is given. So a stopped
search resumes by replaying its trials: the same tells lead to the same asks.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.architecture import Architecture
from aebnas.space.genome import Candidate, SearchSpace
from aebnas.strategies.fitness import Fitness
from aebnas.strategies.strategy_spec import StrategySpec
from aebnas.strategies.trial import Trial

Key = tuple[str, ExitPolicy | None]

# A space counts as exhausted after so many draws in a row that gave nothing new.
MAX_MISSES = 1000


@dataclass(frozen=True)
class Job:
    """Evaluate this architecture, under this policy or (None) under policies found on its exit table."""

    architecture: Architecture
    policy: ExitPolicy | None
    origin: str

    @property
    def key(self) -> Key:
        """Jobs with equal keys are the same work."""
        return self.architecture.id, self.policy

    def answered_by(self, trial: Trial) -> bool:
        """Whether a trial is what became of this job."""
        return (trial.architecture.id, trial.policy) == self.key


@dataclass(frozen=True)
class RelaxedJob:
    """Train a relaxed network under lambda `weight`, and evaluate the hard network of this `form` that comes of it.

    Its trial names it by `origin`, since the architecture isn't known before. A trial that failed holds the space's
    largest architecture in its place.
    """

    weight: float
    form: Literal["static", "adaptive"]

    @property
    def origin(self) -> str:
        """Unlike that of any other job of a search."""
        return f"adaptive_darts lambda {self.weight:g} {self.form}"

    @property
    def key(self) -> Key:
        """Jobs with equal keys are the same work."""
        return self.origin, None

    def answered_by(self, trial: Trial) -> bool:
        """Whether a trial is what became of this job."""
        return trial.origin == self.origin


AnyJob = Job | RelaxedJob


class Strategy(ABC):
    """Proposes generations of distinct jobs; subclasses fill in `_propose` and `_learn`.

    `initial_genomes` are genomes to begin with, for strategies that have a population.
    """

    def __init__(
        self,
        spec: StrategySpec,
        space: SearchSpace,
        fitness: Fitness,
        rng: np.random.Generator,
        initial_genomes: Sequence[tuple[int, ...]] = (),
    ) -> None:
        self.spec, self.space, self.fitness, self.rng, self.initial_genomes = spec, space, fitness, rng, initial_genomes
        self.asked: set[Key] = set()
        self._open: Sequence[AnyJob] = []

    @property
    def lamarckian(self) -> bool:
        """Whether threshold genes don't say a job's policy but are set to the one it was given (AEBNAS)."""
        return self.fitness.target is not None and self.fitness.target.tunes_thresholds

    def job(self, candidate: Candidate, origin: str) -> Job:
        """The job that evaluates `candidate`."""
        return Job(candidate.architecture, None if self.lamarckian else candidate.policy, origin)

    def key(self, candidate: Candidate) -> Key:
        """Key of that job."""
        return self.job(candidate, "").key

    def ask(self) -> list[AnyJob]:
        """Jobs of the next generation, none of them asked before; an empty list ends the search.

        Raises ValueError if the trials of the last generation are still to come.
        """
        if self._open:
            raise ValueError(f"ask must follow tell, but {len(self._open)} jobs have no trial yet")
        self._open = self._propose()
        self.asked.update(job.key for job in self._open)
        return list(self._open)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn from the trials of the jobs asked last, one a job in the order asked.

        Raises ValueError if they are others.
        """
        fits = len(trials) == len(self._open)
        if not fits or not all(job.answered_by(t) for job, t in zip(self._open, trials, strict=True)):
            raise ValueError(
                f"trials must match the {len(self._open)} jobs asked, in order, but got {len(trials)} others"
            )
        self._open = []
        if trials:
            self._learn(trials)

    @abstractmethod
    def _propose(self) -> Sequence[AnyJob]:
        """Jobs of the next generation, distinct and not in `self.asked`."""

    @abstractmethod
    def _learn(self, trials: Sequence[Trial]) -> None:
        """Take in the outcomes of the last generation, at least one, in the order asked."""

    def _draw_new(self, count: int, besides: Collection[Key] = ()) -> list[tuple[tuple[int, ...], Candidate]]:
        """Up to `count` random genomes with candidates that are distinct, never asked and none of `besides`."""
        drawn: list[tuple[tuple[int, ...], Candidate]] = []
        taken, misses = {*self.asked, *besides}, 0
        while len(drawn) < count and misses < MAX_MISSES:
            genome = tuple(self.space.sample(self.rng))
            candidate = self.space.decode(genome)
            key = self.key(candidate)
            if key in taken:
                misses += 1
                continue
            taken.add(key)
            drawn.append((genome, candidate))
            misses = 0
        return drawn
