"""NSGA-II (Deb et al. 2002) over genomes by pymoo, for architectures that may hold several operating points.

Each individual is one Job and one Trial. Two-point crossover as in AEBNAS. Selection is that of `ranking`:
feasibility first, then the best front any point of the individual is on, then exclusive hypervolume.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.individual import Individual
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.survival import Survival
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.selection.tournament import TournamentSelection

from aebnas.space.genome import Candidate, SearchSpace
from aebnas.strategies.ranking import select
from aebnas.strategies.strategy import Job, Key, Strategy
from aebnas.strategies.trial import Trial


class Nsga2(Strategy):
    """NSGA-II; `generations` counts the initial population (`initial_genomes`, then random) as the first."""

    gave_up = "crossover and mutation gave too few new candidates"

    _generation = 0
    _offspring: Sequence[Individual] = ()
    _algorithm: Any = None

    def _propose(self) -> list[Job]:
        nothing_to_vary = not self.space.gene_sizes  # a space of a single candidate: there is one generation
        if self._generation == self.spec.generations or (nothing_to_vary and self._generation):
            return []
        if self._algorithm is None:
            self._algorithm = self._start(np.array(self._first_population(), dtype=int))
        # None where mating found no new candidate in 100 rounds: the space is exhausted, or nearly so
        offspring = self._algorithm.ask()
        if offspring is None:
            return []
        self._generation += 1
        self._offspring = offspring
        origin = f"nsga2 generation {self._generation}"
        return [self.job(_candidate(self.space, individual), origin) for individual in offspring]

    def _first_population(self) -> list[tuple[int, ...]]:
        """The initial genomes that decode to distinct candidates, up to the population's size, then random ones."""
        distinct = {self.key(self.space.decode(genome)): genome for genome in self.initial_genomes}
        given = list(distinct.items())[: self.spec.population]
        drawn = self._draw_new(self.spec.population - len(given), besides={key for key, _ in given})
        return [genome for _, genome in given] + [genome for genome, _ in drawn]

    def _learn(self, trials: Sequence[Trial]) -> None:
        for individual, trial in zip(self._offspring, trials, strict=True):
            individual.set("points", self.fitness.feasible_points(trial))
            individual.set("CV", np.array([self.fitness.violation(trial)]))
            if self.lamarckian and trial.points:
                genome = self.space.with_policy([int(gene) for gene in individual.X], trial.points[0].policy)
                individual.X = np.array(genome)
        self._algorithm.tell(infills=self._offspring)

    def _key(self, individual: Individual) -> Key:
        return self.key(_candidate(self.space, individual))

    def _start(self, genomes: np.ndarray) -> NSGA2:
        sizes = np.asarray(self.space.gene_sizes)
        prob = self.spec.mutation_prob or 1.0 / max(1, len(sizes))
        algorithm = NSGA2(
            pop_size=self.spec.population,
            sampling=genomes,
            selection=TournamentSelection(func_comp=binary_tournament),
            crossover=TwoPointCrossover(prob=self.spec.crossover_prob),
            mutation=_ResetMutation(sizes, prob),
            survival=_BestFrontSurvival(),
            eliminate_duplicates=_NeverAsked(self._key, self.asked),
            output=None,
        )
        algorithm.tournament_type = "comp_by_rank_and_crowding"
        problem = Problem(n_var=len(sizes), n_obj=self.fitness.size, xl=0, xu=sizes - 1, vtype=int)
        # pymoo accepts a generator as its seed, so all its draws come from ours
        algorithm.setup(problem, termination=NoTermination(), seed=self.rng)
        return algorithm


class _ResetMutation(Mutation):
    """Replaces each gene, with probability `gene_prob`, by another of its values, all equally likely.

    Polynomial mutation with rounding would rarely change a gene of few choices.
    """

    def __init__(self, sizes: np.ndarray, gene_prob: float) -> None:
        super().__init__()
        self.sizes, self.gene_prob = sizes, gene_prob

    def _do(self, problem: Problem, X: np.ndarray, *args: Any, random_state: Any = None, **kwargs: Any) -> np.ndarray:
        mutate = (random_state.random(X.shape) < self.gene_prob) & (self.sizes > 1)
        offset = random_state.integers(1, np.maximum(self.sizes, 2), size=X.shape)
        return np.where(mutate, (X + offset) % self.sizes, X)


class _NeverAsked(DuplicateElimination):
    """Keeps individuals with a new candidate: compared by key, since many genomes decode to one network."""

    def __init__(self, key_of: Callable[[Individual], Key], asked: set[Key]) -> None:
        super().__init__()
        self.key_of, self.asked = key_of, asked

    def do(self, pop: Population, *args: Population, **kwargs: Any) -> Population:
        taken = {self.key_of(individual) for other in args for individual in other}
        new = []
        for place, individual in enumerate(pop):
            key = self.key_of(individual)
            if key not in taken and key not in self.asked:
                taken.add(key)
                new.append(place)
        return pop[new]


class _BestFrontSurvival(Survival):
    """`ranking.select` as a pymoo operator; sets "rank" and "crowding", which the tournament reads."""

    def __init__(self) -> None:
        super().__init__(filter_infeasible=False)

    def _do(self, problem: Problem, pop: Population, *args: Any, n_survive: int = 0, **kwargs: Any) -> Population:
        points = [individual.get("points") for individual in pop]
        survivors = select(points, [float(individual.CV[0]) for individual in pop], n_survive)
        for survivor in survivors:
            pop[survivor.index].set("rank", survivor.rank)
            pop[survivor.index].set("crowding", survivor.contribution)
        return pop[[survivor.index for survivor in survivors]]


def _candidate(space: SearchSpace, individual: Individual) -> Candidate:
    """The candidate that the individual's genome decodes to, cached in the individual."""
    if "candidate" not in individual.data:
        individual.set("candidate", space.decode([int(gene) for gene in individual.X]))
    return individual.get("candidate")
