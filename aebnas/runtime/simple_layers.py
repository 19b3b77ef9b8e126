"""Modules of the ops without a convolution: pooling, resizing, sums, classifiers, boosted logits."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from .shape_rules import sides


class MaxPool(nn.Module):
    """Max pooling with same padding."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(kernel, stride, kernel // 2)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.pool(x_nchw)


class AvgPool(nn.Module):
    """Average pooling with same padding; padded pixels don't count."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.pool(x_nchw)


class Resize(nn.Module):
    """Bilinear resizing to a square of `side` pixels, or to a `side` of (height, width); antialiased where it shrinks.

    Without parameters or MACs.
    """

    def __init__(self, side: int | tuple[int, int]) -> None:
        super().__init__()
        self.size = sides(side)

    def forward(self, x_nchw: Tensor) -> Tensor:
        shrinks = self.size[0] < x_nchw.shape[2] or self.size[1] < x_nchw.shape[3]
        # in 32 bits, since antialiasing on CPUs doesn't support bfloat16
        resized = functional.interpolate(x_nchw.float(), self.size, mode="bilinear", antialias=shrinks)
        return resized.to(x_nchw.dtype)


class Add(nn.Module):
    """Elementwise sum of any number of inputs of equal shape, such as the edges into a node of a DAG cell."""

    def forward(self, *x_nchw: Tensor) -> Tensor:
        return torch.stack(x_nchw).sum(0) if len(x_nchw) > 1 else x_nchw[0]


class Boost(nn.Module):
    """z_i = f_i(h_i) + 0.5 z_{i-1}: the logits of an exit of a boosted network (after BoostNet).

    The loss at an exit trains its own branch only, so the earlier exit's logits get no gradient from it.
    """

    def forward(self, own_nc: Tensor, earlier_nc: Tensor) -> Tensor:
        return torch.add(own_nc, earlier_nc.detach(), alpha=0.5)


GLOBAL_POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "avg": lambda x_nchw: x_nchw.mean((2, 3)),
    "max": lambda x_nchw: x_nchw.amax((2, 3)),
    "avgmax": lambda x_nchw: (x_nchw.mean((2, 3)) + x_nchw.amax((2, 3))) / 2,
}
"""The values of a classifier's `pool`: functions from `[n, c, h, w]` to `[n, c]`."""


class Classifier(nn.Module):
    """Global pooling and a linear layer; the output shape is `(classes, 1, 1)`, the tensor `[n, classes]`."""

    def __init__(self, in_channels: int, classes: int, pool: str = "avg") -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, classes)
        self.pool = pool

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.linear(GLOBAL_POOLS[self.pool](x_nchw))
