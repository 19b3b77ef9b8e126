"""The settings of the `relaxed:` part of an experiment: the training of relaxed networks. Imports no torch."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import REQUIRED
from aebnas.training.recipes.presets import PRESETS
from aebnas.training.training_spec import TrainSpec

Positive = Annotated[float, Field(strict=True, gt=0)]
NotNegative = Annotated[float, Field(strict=True, ge=0)]

DELTA_ENTRIES = 60
"""Entries of Delta alpha in the published network, whose code takes their mean square where its formula has the sum."""
UNUSED = (
    "exit_weights",
    "distillation",
    "distil_from",
    "identity_init",
    "whiten",
    "resolution_steps",
    "compile",
    "steps",
)
"""Settings of other trainings that relaxed networks don't have."""


class RelaxedSpec(TrainSpec):
    """Training of a relaxed network: weights by SGD on `train` as in other trainings; alpha, the controller, stop heads
    and exits' mixtures by Adam on `arch`.

    loss = CE of the expected logits + `aux` * mean CE of the early exits + lambda(t) * expected cost + `mu` *
    |Delta alpha|^2. lambda(t) is 0 for `lambda_warmup_epochs`, then rises to the strategy's lambda by the last epoch.
    `bilevel: joint` and `cost: linspace` reproduce the published code for comparison: everything is trained on `train`,
    and exit i of E costs i / E.
    """

    recipe: Literal["classic"] = "classic"
    """The preset that gives the values of absent keys, but for label smoothing, which is 0."""
    arch_lr: Positive = 3e-4
    """Learning rate of Adam."""
    arch_weight_decay: NotNegative = 1e-3
    """Weight decay of Adam."""
    arch_batch_size: Annotated[int, Field(strict=True, ge=2, le=1_000_000)] | None = None
    """Images per step on `arch`; `batch_size` if absent."""
    aux: NotNegative = 0.35
    """Weight of the early exits' mean loss."""
    mu: NotNegative = 1e-3 / DELTA_ENTRIES
    """Weight of |Delta alpha|^2, the squared change of alpha by the controller."""
    lambda_warmup_epochs: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 5
    """Epochs without a cost in the loss."""
    ramp: Literal["linear", "cosine"] = "linear"
    """Shape of the rise of lambda(t) after the warm-up."""
    cost: Literal["macs", "params", "weight_bytes", "latency_ms", "energy_mj", "linspace"] = "macs"
    """The cost in the loss, as a share of the most expensive architecture's; `latency_ms` requires a device profile,
    which doesn't cover controllers and stop heads."""
    mixing: Literal["softmax", "straight_through"] = "softmax"
    """`straight_through` samples one candidate op in the forward pass, `softmax` mixes all."""
    temperature: tuple[Positive, Positive] = (1.0, 0.2)
    """Temperature of the softmax over candidate ops: falls geometrically from the first to the second number."""
    bilevel: Literal["first_order", "second_order", "joint"] = "first_order"
    """How the gradient of alpha is computed; `second_order` unrolls one step of the weights (Liu et al. 2019)."""
    controller: Annotated[int, Field(strict=True, ge=0, le=4096)] = 8
    """Width of the controller; 0 for no input-adaptive edges."""
    stop_heads: bool = True
    """Train stop heads; without them no sample stops early."""
    inputs: Annotated[int, Field(strict=True, ge=1)] = 2
    """Number of edges that each node of a static network keeps, those with the largest weights."""
    min_share: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.02
    """An adaptive network keeps the candidates of an edge that are selected for at least this share of the `arch`
    images."""
    validate_images: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Limit of images in a validation; all if absent."""

    @classmethod
    def preset_changes(cls) -> dict[str, Any]:
        """The published network has no label smoothing."""
        return {"label_smoothing": 0.0}

    @model_validator(mode="after")
    def _one_way(self) -> "RelaxedSpec":
        if self.exits != type(self.exits)():
            raise SpecError("exits", "must be set only for the training of single networks")
        if self.epochs is None:
            raise SpecError("epochs", REQUIRED)
        for name in UNUSED:
            value = getattr(self, name)
            if value != PRESETS[self.recipe].get(name, type(self).model_fields[name].default):
                rule = f"must be absent for relaxed networks, which train otherwise, but got {value}"
                raise SpecError(name, rule)
        return self

    def lambda_at(self, epoch: int, maximum: float) -> float:
        """lambda(t) in an epoch (from 0); it rises to `maximum`."""
        assert self.epochs is not None, "checked"
        ramp_epochs = self.epochs - self.lambda_warmup_epochs
        if epoch < self.lambda_warmup_epochs or ramp_epochs < 1:
            return 0.0
        done = (epoch + 1 - self.lambda_warmup_epochs) / ramp_epochs
        return maximum * (done if self.ramp == "linear" else 0.5 * (1 - math.cos(math.pi * done)))

    def temperature_at(self, epoch: int) -> float:
        """Temperature of the softmax over candidates in an epoch (from 0)."""
        assert self.epochs is not None, "checked"
        start, end = self.temperature
        return start * (end / start) ** (epoch / max(1, self.epochs - 1))
