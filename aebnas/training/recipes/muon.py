"""Muon (Jordan et al. 2024) for the filters of convolutions.

torch.optim.Muon takes matrices only. Here a filter bank `[out, in, kh, kw]` is orthogonalised as the matrix
`[out, in * kh * kw]`, and its norm is set to that of an orthogonal matrix before each step, as in the published recipe
for CIFAR-10: what follows it is a norm layer, so the scale of its weights has no effect but on the size of a step.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration: steepest at 0, so that few iterations are enough."""
ITERATIONS = 5


def orthogonalised(matrices_brc: Tensor) -> Tensor:
    """About U V^T of each matrix `[b, r, c]` with the singular value decomposition U S V^T.

    Singular values of the result lie between about 0.7 and 1.2 (those far below the largest one stay smaller).
    """
    a, b, c = COEFFICIENTS
    tall = matrices_brc.shape[1] > matrices_brc.shape[2]
    x = matrices_brc.mT if tall else matrices_brc
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update of a filter bank is orthogonalised.

    Each step sets the norm of a filter bank `[out, ...]` to sqrt(out), so its filters have norm 1 on average, and
    subtracts `lr` times the orthogonalised update. Parameters must have two or more dimensions.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        if small := [p.ndim for group in self.param_groups for p in group["params"] if p.ndim < 2]:
            raise ValueError(f"parameters must have two or more dimensions, but got {small[0]}")

    @overload
    def step(self, closure: None = ...) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """See torch."""
        if closure is not None:
            raise ValueError("closures aren't supported")
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            banks = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not banks:
                continue
            for bank in banks:
                self.state[bank].setdefault("momentum_buffer", torch.zeros_like(bank))
            grads = [bank.grad for bank in banks if bank.grad is not None]
            buffers = [self.state[bank]["momentum_buffer"] for bank in banks]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, grads)
            updates = torch._foreach_add(grads, buffers, alpha=momentum)
            by_shape: dict[tuple[int, ...], list[int]] = {}
            for index, bank in enumerate(banks):
                by_shape.setdefault(tuple(bank.shape), []).append(index)
            for shape, indices in by_shape.items():  # one batch of matrices for all banks of a shape
                matrices_brc = torch.stack([updates[index].reshape(shape[0], -1) for index in indices])
                for index, update_rc in zip(indices, orthogonalised(matrices_brc), strict=True):
                    bank = banks[index]
                    bank.mul_(shape[0] ** 0.5 / bank.norm().clamp_min(1e-12))
                    bank.sub_(update_rc.view(shape), alpha=lr)
        return None
