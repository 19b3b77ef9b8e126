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
    and exits' mixtures by Adam (`arch_lr`, `arch_weight_decay`) on `arch`.

    loss = CE of the expected answer + `aux` * mean CE of the early exits + lambda(t) * expected cost + `mu` *
    |Delta alpha|^2. lambda(t) is 0 for `lambda_warmup_epochs`, then rises to the strategy's lambda by the last epoch,
    `ramp`ed linearly or as a cosine. `cost` is what is expected (of the costliest architecture; `latency_ms` needs a
    device profile, which knows nothing of controllers and stop heads). The softmax over candidates has a `temperature`
    that falls geometrically from the first to the second number; `mixing: straight_through` samples one candidate in
    the forward pass. `bilevel` says how the gradient of alpha is taken; `second_order` looks one step of the weights
    ahead (Liu et al. 2019). `controller` is its width (0: no input-adaptive edges); `stop_heads: false` lets no sample
    stop early.

    For deployment: of a static network each node keeps the `inputs` strongest edges; an adaptive one keeps those
    candidates of an edge that at least `min_share` of the `arch` images choose. `validate_images` limits validations
    to so many images (all, if not given).

    `bilevel: joint` and `cost: linspace` rebuild the published code for comparison: everything learns from `train`,
    and exit i of E costs i / E.
    """

    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    arch_lr: Positive = 3e-4
    arch_weight_decay: NotNegative = 1e-3
    arch_batch_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] | None = None
    aux: NotNegative = 0.35
    mu: NotNegative = 1e-3 / DELTA_ENTRIES
    lambda_warmup_epochs: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 5
    ramp: Literal["linear", "cosine"] = "linear"
    cost: Literal["macs", "params", "weight_bytes", "latency_ms", "energy_mj", "linspace"] = "macs"
    mixing: Literal["softmax", "straight_through"] = "softmax"
    temperature: tuple[Positive, Positive] = (1.0, 0.2)
    bilevel: Literal["first_order", "second_order", "joint"] = "first_order"
    controller: Annotated[int, Field(strict=True, ge=0, le=4096)] = 8
    stop_heads: bool = True
    inputs: Annotated[int, Field(strict=True, ge=1)] = 2
    min_share: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.02
    validate_images: Annotated[int, Field(strict=True, ge=1)] | None = None

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
