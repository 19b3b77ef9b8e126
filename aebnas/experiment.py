"""An experiment: what `experiments/*.yaml` say to run."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from aebnas.data.config import DataSpec
from aebnas.evaluate.config import EvaluateSpec
from aebnas.objectives import Constraint, Objective, SoftTarget, check_constraints
from aebnas.specfile import Spec
from aebnas.strategies.config import StrategySpec
from aebnas.train.config import RetrainSpec, SupernetSpec, TrainSpec


class TargetSpec(Spec):
    """AEBNAS's soft goal: come near `value` of a cost metric; `weight` of its percentage error in the objective.

    `tune_thresholds`: of all combinations of the space's threshold genes each architecture takes the one that is
    best in that objective on `calibrate`, and it is written back to the genome.
    """

    metric: str = "avg_macs"
    value: Annotated[float, Field(gt=0)]
    weight: Annotated[float, Field(ge=0)] = 0.1
    tune_thresholds: bool = False


class ExperimentSpec(Spec):
    """A whole experiment. Paths are relative to the YAML file.

    `ray` is where workers run: `local` (a Ray of our own), `auto` (a running cluster) or a cluster's address.
    """

    space: Path
    data: DataSpec
    objectives: tuple[str, ...] = ("accuracy", "avg_macs")
    constraints: tuple[str, ...] = ()
    target: TargetSpec | None = None
    supernet: SupernetSpec | None = None
    evaluate: EvaluateSpec = EvaluateSpec()
    strategy: StrategySpec = StrategySpec()
    retrain: RetrainSpec
    ray: str = "local"
    seed: Annotated[int, Field(ge=0)] = 11

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        parsed = [Objective.parse(name) for name in names]
        if len(parsed) < 2 or len(set(parsed)) != len(parsed):
            raise ValueError("must name two or more different metrics")
        return names

    @field_validator("constraints")
    @classmethod
    def _possible_constraints(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        check_constraints([Constraint.parse(text) for text in texts])
        return texts

    @model_validator(mode="after")
    def _target_reachable(self) -> "ExperimentSpec":
        self.parsed_target()
        return self

    @model_validator(mode="after")
    def _supernet_where_needed(self) -> "ExperimentSpec":
        mode = self.evaluate.weights
        if self.trains_supernet and self.supernet is None:
            raise ValueError(f"supernet: must be there where evaluate.weights is {mode}, but got nothing")
        if not self.trains_supernet and self.retrain.weights == "supernet":
            raise ValueError(f"retrain.weights: must be scratch where evaluate.weights is {mode}, but got supernet")
        return self

    @property
    def trains_supernet(self) -> bool:
        """Whether candidates start from a supernet's weights."""
        return self.evaluate.mode != "scratch"

    @property
    def own_training(self) -> TrainSpec | None:
        """How each candidate is trained by itself, if it is."""
        return self.evaluate.own_training(self.retrain)

    def parsed_objectives(self) -> list[Objective]:
        """The objectives."""
        return [Objective.parse(name) for name in self.objectives]

    def parsed_constraints(self) -> list[Constraint]:
        """The constraints."""
        return [Constraint.parse(text) for text in self.constraints]

    def parsed_target(self) -> SoftTarget | None:
        """The soft target, if there is one."""
        if self.target is None:
            return None
        return SoftTarget(self.target.metric, self.target.value, self.target.weight, self.target.tune_thresholds)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return self.model_dump(mode="json")
