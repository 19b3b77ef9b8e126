"""What the `relaxed:` part of an experiment may say: the training of relaxed networks. Imports no torch."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.training.training_spec import TrainSpec

Positive = Annotated[float, Field(strict=True, gt=0)]
NotNegative = Annotated[float, Field(strict=True, ge=0)]

DELTA_ENTRIES = 60
"""Of the published network: its code takes the mean of Delta alpha^2 over them where its formula takes the sum."""


class RelaxedSpec(TrainSpec):
    """Training of a relaxed network: weights by SGD on `train` as in other trainings; alpha, the controller, stop heads
    and exits' mixtures by Adam on `arch`.

    loss = CE of the expected answer + `aux` * mean CE of the early exits + lambda(t) * expected cost + `mu` *
    |Delta alpha|^2. lambda(t) is 0 for `lambda_warmup_epochs`, then rises to the strategy's lambda by the last epoch.
    `bilevel: joint` and `cost: linspace` rebuild the published code for comparison: everything learns from `train`,
    and exit i of E costs i / E.
    """

    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    """Share of each label's probability that is spread over all classes."""
    arch_lr: Positive = 3e-4
    """Learning rate of Adam."""
    arch_weight_decay: NotNegative = 1e-3
    """Weight decay of Adam."""
    arch_batch_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] | None = None
    """Images of a step on `arch`; `batch_size` if absent."""
    aux: NotNegative = 0.35
    """Weight of the early exits' mean loss."""
    mu: NotNegative = 1e-3 / DELTA_ENTRIES
    """Weight of the squared shift that the controller makes."""
    lambda_warmup_epochs: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 5
    """Epochs without a cost in the loss."""
    ramp: Literal["linear", "cosine"] = "linear"
    """How lambda(t) rises afterwards."""
    cost: Literal["macs", "params", "weight_bytes", "latency_ms", "energy_mj", "linspace"] = "macs"
    """What is expected, of the costliest architecture; `latency_ms` needs a device profile, which knows no controllers
    and stop heads."""
    mixing: Literal["softmax", "straight_through"] = "softmax"
    """`straight_through` samples one candidate op in the forward pass, `softmax` mixes all."""
    temperature: tuple[Positive, Positive] = (1.0, 0.2)
    """Of the softmax over candidate ops: falls geometrically from the first to the second number."""
    bilevel: Literal["first_order", "second_order", "joint"] = "first_order"
    """How the gradient of alpha is taken; `second_order` looks one step of the weights ahead (Liu et al. 2019)."""
    controller: Annotated[int, Field(strict=True, ge=0, le=4096)] = 8
    """Width of the controller; 0 makes no input-adaptive edges."""
    stop_heads: bool = True
    """Train stop heads; without them no sample stops early."""
    inputs: Annotated[int, Field(strict=True, ge=1)] = 2
    """Edges that each node of a static network keeps, the strongest."""
    min_share: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.02
    """An adaptive network keeps those candidates of an edge that at least this share of the `arch` images choose."""
    validate_images: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Limit of images in a validation; all if absent."""

    @model_validator(mode="after")
    def _one_way(self) -> "RelaxedSpec":
        if self.exits != type(self.exits)():
            raise SpecError("exits", "must be left to the training of single networks")
        return self

    def lambda_at(self, epoch: int, most: float) -> float:
        """lambda(t) in an epoch (from 0) on the way to `most`."""
        ramp_epochs = self.epochs - self.lambda_warmup_epochs
        if epoch < self.lambda_warmup_epochs or ramp_epochs < 1:
            return 0.0
        done = (epoch + 1 - self.lambda_warmup_epochs) / ramp_epochs
        return most * (done if self.ramp == "linear" else 0.5 * (1 - math.cos(math.pi * done)))

    def temperature_at(self, epoch: int) -> float:
        """Of the softmax over candidates in an epoch (from 0)."""
        start, end = self.temperature
        return start * (end / start) ** (epoch / max(1, self.epochs - 1))
