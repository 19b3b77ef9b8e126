"""Building blocks of ops: activations, and a convolution with its batch norm."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "hswish": functional.hardswish}
"""The values of an op's `act`; h-swish as in MobileNetV3 (Howard et al. 2019)."""


class SubsampledPointwise(nn.Conv2d):
    """A strided pointwise (1x1) convolution, computed as one without stride on subsampled pixels, with the same result.

    In channels_last, oneDNN's backward pass of a strided one with fewer input channels than the CPU's vectors hold
    writes out of bounds, which crashes the process (torch 2.15: below 8 channels with AVX2, below 16 with AVX-512, on
    larger maps). Without a stride it doesn't on any CPU, so every strided pointwise convolution takes this way,
    whatever the CPU and its channels. `benchmarks/strided_pointwise.py` measures the cost.
    """

    def forward(self, x_nchw: Tensor) -> Tensor:
        return functional.conv2d(self._subsampled(x_nchw), self.weight, self.bias, groups=self.groups)

    def _subsampled(self, x_nchw: Tensor) -> Tensor:
        rows, columns = self.stride
        if self.training:  # the mean of one pixel; the backward pass of slices takes a tenth of a ResNet's step longer
            return functional.avg_pool2d(x_nchw, 1, (rows, columns))
        return x_nchw[..., ::rows, ::columns]


def conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias and its batch norm."""
    kind = SubsampledPointwise if kernel == 1 and stride > 1 else nn.Conv2d
    conv = kind(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
