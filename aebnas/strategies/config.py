"""What a user may say about the strategy; light to import, since every command reads specs."""

from typing import Literal

from pydantic import Field

from aebnas.specfile import Spec


class StrategySpec(Spec):
    """How candidates are proposed; the defaults are AEBNAS's NSGA-II settings.

    `mutation_prob` is for one gene; None means 1 / (number of genes). The two probabilities are NSGA-II's
    alone. The first generation is the initial population.
    """

    name: Literal["random", "nsga2"] = "nsga2"
    population: int = Field(40, strict=True, ge=4, le=100_000)
    generations: int = Field(20, strict=True, ge=1, le=1_000_000)
    crossover_prob: float = Field(0.9, strict=True, ge=0.0, le=1.0)
    mutation_prob: float | None = Field(None, strict=True, gt=0.0, le=1.0)

    @property
    def evaluations(self) -> int:
        """Number of jobs in a whole search, unless the space is exhausted before."""
        return self.population * self.generations
