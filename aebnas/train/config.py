"""What the `supernet:` and `retrain:` parts of an experiment may say. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from aebnas.specfile import Spec

ExitWeights = Literal["equal", "linear"] | dict[str, Annotated[float, Field(ge=0)]]


class TrainSpec(Spec):
    """Settings of the training loop; SGD with Nesterov momentum, warm-up, then cosine to zero.

    `exit_weights` weigh the exits' losses: `equal`, `linear` (exit i of E by i/E, as DART), or by place
    (`{stage1: 0.3, last: 1}`); they are scaled to sum to 1. `distillation` is the share of the loss that
    follows the teacher's probabilities instead of the labels (the largest subnet's last exit; for a single
    network its own). `clip` bounds the gradient's norm. `ema` is the decay of averaged weights (0: none).
    `precision: auto` is bf16 where the device computes it natively, else fp32.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)] = 128
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    exit_weights: ExitWeights = "equal"
    clip: Annotated[float, Field(gt=0)] = 5.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    validate_every: Annotated[int, Field(ge=1)] = 1


class SupernetSpec(TrainSpec):
    """Sandwich training (Yu & Huang 2019): each step trains the largest, the smallest and random backbones.

    Every backbone path carries `branches` sets of random exit branches, which share its forward pass.
    """

    recipe: Literal["sandwich"] = "sandwich"
    random_subnets: Annotated[int, Field(ge=0)] = 2
    branches: Annotated[int, Field(ge=1)] = 2


class RetrainSpec(TrainSpec):
    """Training of one chosen architecture, from the supernet's weights or from scratch."""

    weights: Literal["supernet", "scratch"] = "supernet"
