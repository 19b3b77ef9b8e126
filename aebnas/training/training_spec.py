"""What the `supernet:` and `retrain:` parts of an experiment may say. Imports no torch."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.core.spec_types import Epochs, Processes, Threads
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ExitWeights = Literal["equal", "linear"] | dict[str, Annotated[float, Field(strict=True, ge=0)]]


class LoopSpec(Spec):
    """Settings of the training loop but its length; SGD with Nesterov momentum, warm-up, then cosine to zero.

    `exit_weights` weigh the exits' losses: `equal`, `linear` (exit i of E by i/E, as DART), or by place
    (`{stage1: 0.3, last: 1}`); they are scaled to sum to 1. `distillation` is the share of the loss that
    follows the teacher's probabilities instead of the labels (the largest subnet's last exit; for a single
    network its own). `clip` bounds the gradient's norm. `ema` is the decay of averaged weights (0: none).
    `precision: auto` is bf16 where that is quicker (GPUs; a CPU is measured once), else fp32; what a
    training began with it keeps when it is resumed. `exits` says how exits join the training.
    """

    batch_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] = 128
    lr: Annotated[float, Field(strict=True, gt=0)] = 0.1
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(strict=True, ge=0)] = 5e-4
    warmup_epochs: Annotated[float, Field(strict=True, ge=0)] = 1.0
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.1
    distillation: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.5
    exit_weights: ExitWeights = "equal"
    exits: ExitTrainingSpec = ExitTrainingSpec()
    clip: Annotated[float, Field(strict=True, gt=0)] = 5.0
    ema: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.99
    precision: Precision = "auto"
    channels_last: bool = True
    validate_every: Annotated[int, Field(strict=True, ge=1)] = 1


class TrainSpec(LoopSpec):
    """Settings of the training loop."""

    epochs: Epochs

    @model_validator(mode="after")
    def _time_for_branches(self) -> "TrainSpec":
        if self.exits.backbone_epochs >= self.epochs:
            rule = f"must be below the {self.epochs} epochs, but got {self.exits.backbone_epochs}"
            raise SpecError("exits.backbone_epochs", rule)
        return self


TrainSpecType = TypeVar("TrainSpecType", bound=TrainSpec)


class SupernetSpec(TrainSpec):
    """Sandwich training (Yu & Huang 2019): each step trains the largest, the smallest and random backbones.

    Every backbone path carries `branches` sets of random exit branches, which share its forward pass.

    `workers` above 1 train data-parallel on Ray, each on its equal share of every batch: on a GPU each where the
    cluster has GPUs, else with `threads` CPU threads each (unless given, the machines' cores shared out). With
    `sync_norms` batch norm in training sees the whole batch, which makes a step that of a single process; without,
    each worker's share, which is quicker.
    """

    recipe: Literal["sandwich"] = "sandwich"
    random_subnets: Annotated[int, Field(strict=True, ge=0, le=100)] = 2
    branches: Annotated[int, Field(strict=True, ge=1, le=100)] = 2
    workers: Processes = 0
    threads: Threads | None = None
    sync_norms: bool = True

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
                raise SpecError(f"exits.{name}", "must be left to the training of single networks")
        return self


class RetrainSpec(TrainSpec):
    """Training of one chosen architecture, from the supernet's weights, from scratch or from those (`kept`) under which
    a candidate that was trained by itself was scored.
    """

    weights: Literal["supernet", "scratch", "kept"] = "supernet"
