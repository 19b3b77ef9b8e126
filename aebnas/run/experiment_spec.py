"""The specification of an experiment, read from `experiments/*.yaml`."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.metrics import Constraint, Objective, SoftTarget, check_constraints
from aebnas.core.spec_base import Spec
from aebnas.core.spec_types import Seed, UserPath
from aebnas.cost.device_spec import DeviceSpec
from aebnas.data.data_spec import DataSpec
from aebnas.evaluation.evaluation_spec import EvaluateSpec
from aebnas.strategies.strategy_spec import StrategySpec
from aebnas.training.classes_spec import ClassesSpec
from aebnas.training.darts.relaxed_spec import RelaxedSpec
from aebnas.training.training_spec import RetrainSpec, SupernetSpec, TrainSpec

_RAY = re.compile(r"local|auto|(ray://)?[\w.\-\[\]:]+:[0-9]{1,5}")


def _metric(name: str) -> str:
    Objective.parse(name)
    return name


def _constraint(text: str) -> str:
    Constraint.parse(text)
    return text


def _ray(address: str) -> str:
    if not _RAY.fullmatch(address):
        raise ValueError("must be 'local', 'auto' or the address of a cluster, HOST:PORT")
    return address


@dataclass(frozen=True)
class ScoredWeights:
    """The weights that a search scored its candidates with: their `origin` as text, and whether all of them are
    `inherited` from the supernet (else each candidate has a weight file of its own)."""

    origin: str
    inherited: bool


class TargetSpec(Spec):
    """The soft target of AEBNAS: a penalty on the distance of a cost metric from `value`, instead of a bound."""

    metric: Annotated[str, AfterValidator(_metric)] = "avg_macs"
    """The cost metric."""
    value: Annotated[float, Field(strict=True, gt=0)]
    """The target value, in the metric's unit."""
    weight: Annotated[float, Field(strict=True, ge=0)] = 0.1
    """Weight of the relative error in the objective."""
    tune_thresholds: bool = False
    """Give each architecture the combination of the space's threshold genes that is best in this objective on
    `calibrate`, and write it back to the genome."""

    @model_validator(mode="after")
    def _reachable(self) -> "TargetSpec":
        self.parsed()
        return self

    def parsed(self) -> SoftTarget:
        """The target as strategies use it."""
        return SoftTarget(self.metric, self.value, self.weight, self.tune_thresholds)


class ExperimentSpec(Spec):
    """A whole experiment. Paths are relative to the YAML file."""

    space: UserPath
    """The search space: a YAML file, or the name of a bundled one such as `resnet_cifar`."""
    data: DataSpec
    """The labelled images, their augmentation and their splits."""
    objectives: tuple[Annotated[str, AfterValidator(_metric)], ...] = ("accuracy", "avg_macs")
    """Two or more different metrics; each is maximised or minimised by its own direction."""
    constraints: tuple[Annotated[str, AfterValidator(_constraint)], ...] = ()
    """Bounds such as `"avg_macs <= 17e6"`: a metric, `<=` or `>=`, a number. Points that violate one are infeasible."""
    target: TargetSpec | None = None
    """The soft target of AEBNAS, as an alternative to constraints."""
    device: DeviceSpec | None = None
    """The device profile; required for metrics of latency and energy."""
    supernet: SupernetSpec | None = None
    """Training of the supernet; required unless candidates are trained from scratch or come from relaxed networks."""
    relaxed: RelaxedSpec | None = None
    """Training of relaxed networks; required by the strategy `adaptive_darts` and only used by it."""
    classes: ClassesSpec = ClassesSpec()
    """What trainings do about classes of different size."""
    evaluate: EvaluateSpec = EvaluateSpec()
    """How candidates are scored."""
    strategy: StrategySpec = StrategySpec()
    """How candidates are proposed."""
    retrain: RetrainSpec
    """Training of one selected architecture by `aebnas retrain`."""
    ray: Annotated[str, AfterValidator(_ray)] = "local"
    """Where workers run: `local` (a new Ray instance on this machine), `auto` (a running cluster) or the address of a
    cluster, HOST:PORT."""
    deterministic: bool = False
    """Bitwise repeatable results on CPUs of one kind with any number of cores: deterministic algorithms only,
    `supernet.threads` (1 unless given) CPU threads for all training, fp32 on CPUs where `precision` is auto."""
    seed: Seed = 11
    """Seed of everything random except the splits, which have their own."""

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
    def _supernet_where_needed(self) -> "ExperimentSpec":
        mode = self.evaluate.weights
        if self.trains_supernet and self.supernet is None:
            raise SpecError("supernet", f"is required when evaluate.weights is {mode}")
        if not self.trains_supernet and self.retrain.weights == "supernet":
            rule = f"must be scratch or kept where evaluate.weights is {mode}"
            if self.trains_relaxed:
                rule = "must be scratch or kept where strategy is adaptive_darts"
            raise SpecError("retrain.weights", f"{rule}, but got supernet")
        if self.retrain.weights == "kept" and self.evaluate.mode == "supernet" and not self.trains_relaxed:
            raise SpecError(
                "retrain.weights", "must be supernet or scratch where evaluate.weights is supernet, but got kept"
            )
        return self

    @model_validator(mode="after")
    def _relaxed_where_needed(self) -> "ExperimentSpec":
        if not self.trains_relaxed:
            return self
        if self.relaxed is None:
            raise SpecError("relaxed", "is required when strategy is adaptive_darts")
        if self.evaluate.mode == "supernet":
            rule = "must be finetune(EPOCHS) or scratch(EPOCHS) where strategy is adaptive_darts"
            raise SpecError("evaluate.weights", f"{rule}, but got supernet")
        forms = self.strategy.forms
        if self.evaluate.mode == "scratch" and "adaptive" in forms:
            rule = "must be static where evaluate.weights is scratch, since choices are learned with the weights"
            raise SpecError("strategy.forms", f"{rule}, but got {list(forms)}")
        if self.relaxed.controller == 0 and "adaptive" in forms:
            raise SpecError("strategy.forms", f"must be static where relaxed.controller is 0, but got {list(forms)}")
        if self.relaxed.bilevel != "joint" and not self.data.splits.arch:
            raise SpecError("data.splits.arch", "must be above 0 where strategy is adaptive_darts, but got 0")
        if self.target is not None:
            raise SpecError("target", "must be absent where strategy is adaptive_darts, but got one")
        if self.device is None and self.relaxed.cost == "latency_ms":
            rule = "must be a cost other than latency_ms where no device is named"
            raise SpecError("relaxed.cost", f"{rule}, but got latency_ms")
        if self.device is not None and self.relaxed.controller:
            rule = "must be absent where relaxed networks have a controller, which no profile contains, but got one"
            raise SpecError("device", rule)
        return self

    @property
    def trains_supernet(self) -> bool:
        """Whether candidates start from the weights of a supernet."""
        return self.evaluate.mode != "scratch" and not self.trains_relaxed

    @property
    def trains_relaxed(self) -> bool:
        """Whether candidates are derived from relaxed networks."""
        return self.strategy.name == "adaptive_darts"

    @property
    def relaxed_stop_heads(self) -> bool:
        """Whether candidates inherit stop heads from their relaxed networks."""
        return self.relaxed is not None and self.relaxed.stop_heads

    @property
    def ships_stop_heads(self) -> bool:
        """Whether some training adds stop heads to early exits, so that candidates are charged with them."""
        trainings = [training for training in (self.candidate_training, self.retrain) if training is not None]
        from_relaxed = self.trains_relaxed and self.relaxed_stop_heads
        return from_relaxed or any(training.exits.stop_heads for training in trainings)

    @property
    def ships_choices(self) -> bool:
        """Whether candidates may be input-adaptive, that is, have a controller and edges with several ops."""
        has_controller = self.relaxed is not None and self.relaxed.controller > 0
        return self.trains_relaxed and has_controller and "adaptive" in self.strategy.forms

    @property
    def source(self) -> str:
        """The origin of candidates' weights, as text."""
        text = self.evaluate.source
        return text.replace("from the supernet's", "from its relaxed network's") if self.trains_relaxed else text

    @property
    def scored_weights(self) -> ScoredWeights:
        """The weights that candidates are scored with."""
        return ScoredWeights(self.source, inherited=self.evaluate.mode == "supernet")

    @property
    def candidate_training(self) -> TrainSpec | None:
        """How each candidate is trained separately; None if it isn't."""
        return self.evaluate.candidate_training(self.retrain)

    @property
    def training_threads(self) -> int:
        """CPU threads of a training in a deterministic run."""
        return (self.supernet.threads if self.supernet else None) or 1

    def parsed_objectives(self) -> list[Objective]:
        """The objectives."""
        return [Objective.parse(name) for name in self.objectives]

    def parsed_constraints(self) -> list[Constraint]:
        """The constraints."""
        return [Constraint.parse(text) for text in self.constraints]

    def parsed_target(self) -> SoftTarget | None:
        """The soft target; None if there is none."""
        return None if self.target is None else self.target.parsed()

    def requested_metrics(self) -> dict[str, str]:
        """Metrics of objectives, constraints and target, by their YAML path."""
        metrics = {f"objectives.{number}": o.metric for number, o in enumerate(self.parsed_objectives())}
        metrics |= {f"constraints.{number}": c.metric for number, c in enumerate(self.parsed_constraints())}
        return metrics | ({} if self.target is None else {"target.metric": self.target.metric})

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return self.model_dump(mode="json")
