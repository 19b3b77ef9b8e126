"""What the loop trains: a module, its losses on a batch, and how it is validated."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn
from torch.amp import GradScaler

Row = dict[str, Any]
"""One line of `train_epoch_metrics.csv`."""


class Task(Protocol):
    """One thing to train. The loop owns optimiser, schedule, averaging and checkpoints."""

    module: nn.Module
    stateful: Mapping[str, Any]
    """Further parts with a training state beside the module, by name: each has a `state_dict`."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch (from 0), with the module in training mode."""
        ...

    def losses(self, x_nchw: Tensor, labels_n: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """Losses whose gradients add up to the step's; each is backpropagated before the next is computed.

        `labels_n` are class numbers or, for mixed images, probabilities `[n, c]`.
        """
        ...

    def flop(self) -> float:
        """FLOP on this rank of the step whose losses were computed last, its backward pass included."""
        ...

    def step(self, scaler: GradScaler) -> None:
        """Called after the gradients of all losses of a step are computed, before the loop's own step.

        For parameters that the task updates with its own optimiser; `scaler` scaled the losses, and must unscale
        the gradients. The task leaves those parameters without gradients.
        """
        ...

    def validate(self, module: nn.Module) -> list[Row]:
        """Per-exit accuracy and expected cost of `module` (the averaged weights), one row per validated network."""
        ...
