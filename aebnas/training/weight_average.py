"""The moving average of a module's weights during training."""

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

_Pairs = tuple[list[Tensor], list[Tensor]]
"""Tensors of the average, and those of the trained module."""


class WeightAverage(nn.Module):
    """`module` is a copy of the `trained` one whose weights are averages; other state, such as norms', is as there.

    The decay starts small, so that initial weights don't dominate short trainings. Torch's `AveragedModel` holds the
    same state but waits for a GPU in every step, to read how many steps were averaged.
    """

    n_averaged: Tensor

    def __init__(self, trained: nn.Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = copy.deepcopy(trained), decay
        self.register_buffer("n_averaged", torch.tensor(0))  # always on the CPU
        self._weights: _Pairs = list(self.module.parameters()), list(trained.parameters())
        self._others: _Pairs = list(self.module.buffers()), list(trained.buffers())

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of the trained module, after each of its steps, into the average."""
        steps = int(self.n_averaged)
        if steps:
            decay = min(self.decay, (1 + steps) / (10 + steps))
            get_ema_multi_avg_fn(decay)(*self._weights, self.n_averaged)
        else:
            torch._foreach_copy_(*self._weights)
        if self._others[0]:
            torch._foreach_copy_(*self._others)
        self.n_averaged += 1
