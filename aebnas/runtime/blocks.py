"""Ops that may change width and stride: single convolutions and the residual blocks of backbones.

Legend: n samples, c channels, h, w sides.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .conv_norm import ACTIVATIONS, conv_norm
from .shape_rules import mid_channels, squeezed_channels


class Conv(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, act: str = "relu") -> None:
        super().__init__()
        self.conv = conv_norm(in_channels, out_channels, kernel, stride)
        self.act = ACTIVATIONS[act]

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.act(self.conv(x_nchw))


class SepConv(nn.Module):
    """Depthwise and pointwise convolution, each with batch norm, one activation at the end."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, act: str = "relu") -> None:
        super().__init__()
        self.depthwise = conv_norm(in_channels, in_channels, kernel, stride, groups=in_channels)
        self.pointwise = conv_norm(in_channels, out_channels, 1)
        self.act = ACTIVATIONS[act]

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.act(self.pointwise(self.depthwise(x_nchw)))


class Basic(nn.Module):
    """Residual block of two convolutions (He et al. 2016), with a projected shortcut where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, act: str = "relu") -> None:
        super().__init__()
        self.conv1 = conv_norm(in_channels, out_channels, kernel, stride)
        self.conv2 = conv_norm(out_channels, out_channels, kernel)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = conv_norm(in_channels, out_channels, 1, stride) if changes else nn.Identity()
        self.act = ACTIVATIONS[act]

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.act(self.conv2(self.act(self.conv1(x_nchw))) + self.shortcut(x_nchw))


class SqueezeExcite(nn.Module):
    """Each channel times a gate in [0, 1] computed from all channels' means (Hu et al. 2018), hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, squeezed_channels(channels))
        self.restore = nn.Linear(squeezed_channels(channels), channels)

    def forward(self, x_nchw: Tensor) -> Tensor:
        gate_nc = functional.hardsigmoid(self.restore(torch.relu(self.reduce(x_nchw.mean((2, 3))))))
        return x_nchw * gate_nc[:, :, None, None]


class MBConv(nn.Module):
    """Inverted residual (Sandler et al. 2018): expand, depthwise, project; identity shortcut for equal shapes.

    `se` puts a squeeze-excite before the projection (MobileNetV3).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        expand: float,
        se: bool = False,
        act: str = "relu",
    ) -> None:
        super().__init__()
        mid = mid_channels(in_channels, expand)
        self.expand = conv_norm(in_channels, mid, 1)
        self.depthwise = conv_norm(mid, mid, kernel, stride, groups=mid)
        self.se = SqueezeExcite(mid) if se else nn.Identity()
        self.project = conv_norm(mid, out_channels, 1)
        self.act = ACTIVATIONS[act]
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x_nchw: Tensor) -> Tensor:
        mid_nchw = self.act(self.depthwise(self.act(self.expand(x_nchw))))
        y_nchw = self.project(self.se(mid_nchw))
        return x_nchw + y_nchw if self.residual else y_nchw


class FusedMBConv(nn.Module):
    """Inverted residual whose expansion and depthwise layer are one dense convolution (EfficientNetV2, Tan & Le 2021).

    Identity shortcut for equal shapes; `se` puts a squeeze-excite before the projection.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        expand: float,
        se: bool = False,
        act: str = "relu",
    ) -> None:
        super().__init__()
        mid = mid_channels(in_channels, expand)
        self.expand = conv_norm(in_channels, mid, kernel, stride)
        self.se = SqueezeExcite(mid) if se else nn.Identity()
        self.project = conv_norm(mid, out_channels, 1)
        self.act = ACTIVATIONS[act]
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x_nchw: Tensor) -> Tensor:
        y_nchw = self.project(self.se(self.act(self.expand(x_nchw))))
        return x_nchw + y_nchw if self.residual else y_nchw
