"""Building blocks of ops: activations, and a convolution with its batch norm."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "hswish": functional.hardswish}
"""The values of an op's `act`; h-swish as in MobileNetV3 (Howard et al. 2019)."""


class Subsampled(nn.Conv2d):
    """A strided 1x1 convolution, computed as one without stride on subsampled pixels, with the same result.

    In channels_last, with one thread and 4 channels, oneDNN's backward pass of a strided one writes out of bounds on
    CPUs that have AVX2 but not AVX-512, which crashes the process (observed with torch 2.15).
    """

    def forward(self, x_nchw: Tensor) -> Tensor:
        rows, columns = self.stride
        return functional.conv2d(x_nchw[..., ::rows, ::columns], self.weight, self.bias, groups=self.groups)


def conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias and its batch norm."""
    kind = Subsampled if kernel == 1 and stride > 1 and in_channels < 8 else nn.Conv2d
    conv = kind(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))
