"""The processes that train together, each with its share of every batch (data parallel), over torch.distributed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` (from 0) of `world`; more than one require an initialised process group.

    All ranks call the same methods in the same order.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank must be in 0..{self.world - 1}, but got {self.rank}")

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over the ranks, in one all-reduce.

        Parameters without a gradient are skipped; they must be the same on all ranks.
        """
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the ranks; `value` is overwritten."""
        if self.world > 1:
            dist.all_reduce(value)
            value /= self.world
        return value

    def from_first(self, act: Callable[[], T]) -> T:
        """Call `act` on rank 0 only; returns its result on all ranks or, if it fails, raises its exception on all."""
        if self.world == 1:
            return act()
        outcome: list[tuple[T | None, Exception | None]] = [(None, None)]
        if self.rank == 0:
            try:
                outcome = [(act(), None)]
            except Exception as error:  # the others wait for it
                outcome = [(None, error)]
        dist.broadcast_object_list(outcome)
        result, failure = outcome[0]
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]


SINGLE_PROCESS = Ranks()
