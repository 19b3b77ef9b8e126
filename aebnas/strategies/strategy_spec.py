"""The `strategy:` part of an experiment. Imports no numpy or pymoo, since every command reads specs."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec

_FROM = re.compile(r"from\s+(\S.*)")


def _init(text: str) -> str:
    if not _FROM.fullmatch(text):
        raise ValueError("must read 'from RUN', where RUN is the folder of a run")
    return text


class StrategySpec(Spec):
    """How candidates are proposed; the defaults are AEBNAS's NSGA-II settings."""

    name: Literal["random", "nsga2", "adaptive_darts"] = "nsga2"
    """`random` search, `nsga2`, or `adaptive_darts`, which trains relaxed networks."""
    population: int = Field(40, strict=True, ge=4, le=100_000)
    """Candidates of a generation."""
    generations: int = Field(20, strict=True, ge=1, le=1_000_000)
    """Number of generations; `population` times `generations` candidates are evaluated."""
    crossover_prob: float = Field(0.9, strict=True, ge=0.0, le=1.0)
    """Of `nsga2`: probability of crossover."""
    mutation_prob: float | None = Field(None, strict=True, gt=0.0, le=1.0)
    """Of `nsga2`: probability of mutation of one gene; 1 / (number of genes) if absent."""
    init: Annotated[str, AfterValidator(_init)] | None = None
    """Of `nsga2`: `from RUN`, where RUN is a run's folder relative to the YAML file. The initial population then begins
    with the architectures of that run's front that are in this space."""
    lambdas: tuple[Annotated[float, Field(strict=True, ge=0, le=1000)], ...] = ()
    """Of `adaptive_darts`: weights of the expected cost; one relaxed network is trained for each."""
    forms: tuple[Literal["static", "adaptive"], ...] = ("static", "adaptive")
    """Of `adaptive_darts`: which hard networks are extracted from each relaxed network."""

    @model_validator(mode="after")
    def _of_its_strategy(self) -> "StrategySpec":
        if bool(self.lambdas) != (self.name == "adaptive_darts"):
            got = list(self.lambdas) or "nothing"
            raise SpecError("lambdas", f"must be given for adaptive_darts and only for it, but got {got}")
        for name in ("lambdas", "forms"):
            values = getattr(self, name)
            if len(set(values)) != len(values) or (name == "forms" and not values):
                raise SpecError(name, f"must be one or more distinct values, but got {list(values)}")
        if self.init is not None and self.name != "nsga2":
            raise SpecError("init", f"must be absent for {self.name} (it is for nsga2), but got '{self.init}'")
        return self

    @property
    def init_run(self) -> Path | None:
        """Path of the run whose front begins the initial population, None without `init`."""
        match = _FROM.fullmatch(self.init or "")
        return None if match is None else Path(match.group(1))

    @property
    def evaluations(self) -> int:
        """Number of jobs in a whole search; fewer are run where the space is exhausted before."""
        if self.name == "adaptive_darts":
            return len(self.lambdas) * len(self.forms)
        return self.population * self.generations
