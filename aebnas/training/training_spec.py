"""The settings of the `supernet:` and `retrain:` parts of an experiment. Imports no torch."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.core.spec_types import Epochs, MaxPflop, Processes, Threads
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ExitWeights = Literal["equal", "linear"] | dict[str, Annotated[float, Field(strict=True, ge=0)]]


class LoopSpec(Spec):
    """Settings of the training loop except its length; SGD with Nesterov momentum, warm-up, then cosine to zero."""

    batch_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] = 128
    """Images per step, summed over all workers."""
    lr: Annotated[float, Field(strict=True, gt=0)] = 0.1
    """Peak learning rate."""
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.9
    """Nesterov momentum."""
    weight_decay: Annotated[float, Field(strict=True, ge=0)] = 5e-4
    """Weight decay of SGD."""
    warmup_epochs: Annotated[float, Field(strict=True, ge=0)] = 1.0
    """Epochs over which the learning rate rises linearly from zero."""
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.1
    """Share of each label's probability that is spread over all classes."""
    distillation: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.5
    """Share of the loss computed against the teacher's probabilities instead of the labels. The teacher is the largest
    subnet's last exit; for a single network its own last exit."""
    exit_weights: ExitWeights = "equal"
    """Weights of the exits' losses: `equal`, `linear` (exit i of E by i/E, as DART), or by site, named as in
    `exits.at`, such as `{stage1: 0.3, last: 1}`; they are scaled to sum to 1."""
    exits: ExitTrainingSpec = ExitTrainingSpec()
    """How exits take part in the training."""
    clip: Annotated[float, Field(strict=True, gt=0)] = 5.0
    """Maximum norm of the gradient (clipping)."""
    ema: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.99
    """Decay of the moving average of the weights; 0 turns averaging off."""
    precision: Precision = "auto"
    """`auto` is bf16 where that is faster (GPUs; a CPU is measured once), else fp32. A resumed training keeps the
    format it started with."""
    channels_last: bool = True
    """Train in the channels_last memory format."""
    validate_every: Annotated[int, Field(strict=True, ge=1)] = 1
    """Epochs between validations."""


class TrainSpec(LoopSpec):
    """Settings of the training loop."""

    epochs: Epochs
    """Number of epochs."""
    max_pflop: MaxPflop | None = None
    """Bound of the training's compute in PFLOP (10^15 floating-point operations): the training ends after the step that
    reaches it, even before its last epoch. It bounds forward and backward passes of all steps, not validations or
    the final norm statistics; no bound if absent."""

    @model_validator(mode="after")
    def _time_for_branches(self) -> "TrainSpec":
        if self.exits.backbone_epochs >= self.epochs:
            rule = f"must be below the {self.epochs} epochs, but got {self.exits.backbone_epochs}"
            raise SpecError("exits.backbone_epochs", rule)
        return self


TrainSpecType = TypeVar("TrainSpecType", bound=TrainSpec)


class SupernetSpec(TrainSpec):
    """Sandwich training (Yu & Huang 2019): each step trains the largest, the smallest and random backbones.

    With workers, training is data-parallel on Ray: each takes an equal share of every batch, each on its own GPU where
    the cluster has GPUs.
    """

    recipe: Literal["sandwich"] = "sandwich"
    """The training recipe."""
    random_subnets: Annotated[int, Field(strict=True, ge=0, le=100)] = 2
    """Random backbones per step."""
    branches: Annotated[int, Field(strict=True, ge=1, le=100)] = 2
    """Sets of random exit branches on every backbone path, which share its forward pass."""
    workers: Processes = 0
    """Ray workers that train data-parallel; 0 or 1 trains in this process."""
    threads: Threads | None = None
    """CPU threads of each worker; the machines' cores are divided among the workers if absent."""
    sync_norms: bool = True
    """Batch norm uses the statistics of the whole batch, so a step equals that of a single process; otherwise each
    worker normalises its own share, which is faster."""

    @model_validator(mode="after")
    def _equal_shares(self) -> "SupernetSpec":
        share, rest = divmod(self.batch_size, max(1, self.workers))
        if rest or share < 2:
            got = f"{self.batch_size} for {self.workers}"
            raise SpecError("batch_size", f"must give each worker an equal share of 2 or more, but got {got}")
        return self

    @model_validator(mode="after")
    def _exits_of_many_networks(self) -> "SupernetSpec":
        for name in ("backbone_epochs", "blended", "policy_loss", "stop_heads"):
            if getattr(self.exits, name):
                raise SpecError(f"exits.{name}", "must be set only for the training of single networks")
        return self


class RetrainSpec(TrainSpec):
    """Training of one selected architecture."""

    weights: Literal["supernet", "scratch", "kept"] = "supernet"
    """Initial weights: the supernet's, newly initialised ones (`scratch`), or those under which a separately trained
    candidate was scored (`kept`)."""
