"""The contract of every strategy: `ask` for a generation of jobs, `tell` their trials.

A strategy uses no Ray, no torch and no disk, and draws only from the generator it is given. So a stopped
search resumes by replaying its trials: equal calls of `tell` lead to equal results of `ask`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.architecture import Architecture
from aebnas.space.genome import Candidate, SearchSpace
from aebnas.strategies.fitness import Fitness
from aebnas.strategies.job_count import count_jobs
from aebnas.strategies.strategy_spec import StrategySpec
from aebnas.strategies.trial import Trial

Key = tuple[str, ExitPolicy | None]

# number of consecutive draws without a new candidate after which a space counts as exhausted
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

    def is_job_of(self, trial: Trial) -> bool:
        """Whether `trial` is the result of this job."""
        return (trial.architecture.id, trial.policy) == self.key


@dataclass(frozen=True)
class RelaxedJob:
    """Train a relaxed network under lambda `weight`, and evaluate the hard network of this `form` extracted from it.

    Its trial is matched by `origin`, since the architecture isn't known before. A failed trial holds the space's
    largest architecture instead.
    """

    weight: float
    form: Literal["static", "adaptive"]

    @property
    def origin(self) -> str:
        """Name of the job, unique within a search."""
        return f"adaptive_darts lambda {self.weight:g} {self.form}"

    @property
    def key(self) -> Key:
        """Jobs with equal keys are the same work."""
        return self.origin, None

    def is_job_of(self, trial: Trial) -> bool:
        """Whether `trial` is the result of this job."""
        return trial.origin == self.origin


AnyJob = Job | RelaxedJob


class Shortfall(NamedTuple):
    """Why a search had fewer jobs than planned: in a few words for a list, and as a sentence."""

    state: Literal["space exhausted", "no new candidates", "max_pflop reached"]
    sentence: str


class Strategy(ABC):
    """Proposes generations of distinct jobs; subclasses implement `_propose` and `_learn`.

    `initial_genomes` begin the initial population of strategies that have one.
    """

    gave_up = "the strategy proposed no new candidate"
    """How a strategy ends that finds no new candidate, though the space has some."""

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

    @cached_property
    def jobs_in_space(self) -> int:
        """Number of different jobs that the space has."""
        return count_jobs(self.spec, self.space.spec, self.fitness.target)

    @property
    def max_jobs(self) -> int:
        """Maximum number of jobs of the search: those of the spec, or all that the space has."""
        return min(self.spec.evaluations, self.jobs_in_space)

    def shortfall(self) -> Shortfall | None:
        """Why a search that has ended had fewer jobs than the spec asks for; None if it had all of them."""
        done, planned, everything = len(self.asked), self.spec.evaluations, self.jobs_in_space
        if done >= planned:
            return None
        if done >= everything:
            each = "the only candidate" if everything == 1 else f"all {everything:,} different candidates"
            return Shortfall("space exhausted", f"{each} of the space {'is' if everything == 1 else 'are'} evaluated")
        return Shortfall("no new candidates", f"{self.gave_up} ({done:,} of the space's {everything:,} are evaluated)")

    @property
    def lamarckian(self) -> bool:
        """Whether jobs have no policy, and the thresholds found are written back to the threshold genes (AEBNAS)."""
        return self.fitness.target is not None and self.fitness.target.tunes_thresholds

    def job(self, candidate: Candidate, origin: str) -> Job:
        """The job that evaluates `candidate`."""
        return Job(candidate.architecture, None if self.lamarckian else candidate.policy, origin)

    def key(self, candidate: Candidate) -> Key:
        """Key of the job that evaluates `candidate`."""
        return self.job(candidate, "").key

    def ask(self) -> list[AnyJob]:
        """Jobs of the next generation, none of them returned before; an empty list ends the search.

        Raises ValueError where the trials of the last generation haven't been passed to `tell`.
        """
        if self._open:
            raise ValueError(f"ask must follow tell, but {len(self._open)} jobs have no trial yet")
        self._open = self._propose()
        self.asked.update(job.key for job in self._open)
        return list(self._open)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn from the trials of the last generation, one for each job, in the order of the jobs.

        Raises ValueError for trials of other jobs.
        """
        fits = len(trials) == len(self._open)
        if not fits or not all(job.is_job_of(t) for job, t in zip(self._open, trials, strict=True)):
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
        """Learn from the trials of the last generation, at least one, in the order of their jobs."""

    def _draw_new(self, count: int, besides: Collection[Key] = ()) -> list[tuple[tuple[int, ...], Candidate]]:
        """Up to `count` random genomes and their candidates, distinct, not in `self.asked` and not in `besides`."""
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
