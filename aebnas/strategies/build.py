"""Makes the strategy that a spec names."""

from collections.abc import Callable, Sequence

import numpy as np

from aebnas.core.metrics import Constraint, Objective, SoftTarget
from aebnas.space.genome import SearchSpace
from aebnas.strategies.adaptive_darts import AdaptiveDarts
from aebnas.strategies.fitness import Fitness
from aebnas.strategies.random_search import RandomSearch
from aebnas.strategies.strategy import Strategy
from aebnas.strategies.strategy_spec import StrategySpec


def _nsga2() -> type[Strategy]:
    from aebnas.strategies.nsga2 import Nsga2  # here, since pymoo is slow to import

    return Nsga2


STRATEGIES: dict[str, Callable[[], type[Strategy]]] = {
    "random": lambda: RandomSearch,
    "nsga2": _nsga2,
    "adaptive_darts": lambda: AdaptiveDarts,
}


def make_strategy(
    spec: StrategySpec,
    space: SearchSpace,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    target: SoftTarget | None,
    rng: np.random.Generator,
    initial_genomes: Sequence[tuple[int, ...]] = (),
) -> Strategy:
    """The strategy that `spec` names; it draws only from `rng` and begins its population with `initial_genomes`."""
    fitness = Fitness(tuple(objectives), tuple(constraints), target)
    return STRATEGIES[spec.name]()(spec, space, fitness, rng, initial_genomes)
