"""Every op a Graph node can name, once: its module and its shape rule.

An op is a module class built from its attributes alone, with a static `out_shape`. Adding one takes a class
here, a line in `OPS`, and a rule in `aebnas/cost/counts.py`. Weight sharing slices the parameters of any op
by shape (`aebnas/nn/elastic.py`), so an op needs nothing more to become elastic.

Shapes are `(channels, height, width)` of one sample; a batch `x_nchw` puts N in front.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]


class Op(nn.Module):
    """Base of all ops.

    `sees_channels` tells whether the module is built for a number of input channels, `many_inputs` whether it
    takes more than one input.
    """

    sees_channels: ClassVar[bool] = True
    many_inputs: ClassVar[bool] = False

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        """Shape of the output for the shapes of the inputs; raises ValueError where the op cannot run."""
        raise AssertionError("every op states its shape rule")


def same_padded(shape: Shape, out_channels: int, kernel: int, stride: int) -> Shape:
    """Output shape of a window op with padding kernel // 2; raises ValueError for a window that makes no sense."""
    channels, height, width = shape
    side = min(height, width)
    if kernel % 2 == 0 or kernel < 1:
        raise ValueError(f"kernel must be odd and positive, but got {kernel}")
    if kernel > 2 * side - 1:
        raise ValueError(f"kernel {kernel} is larger than its {height}x{width} map can fill (at most {2 * side - 1})")
    if stride < 1:
        raise ValueError(f"stride must be at least 1, but got {stride}")
    if stride > 1 and side < stride:
        raise ValueError(f"stride {stride} shrinks a {height}x{width} map to nothing")
    if channels < 1 or out_channels < 1:
        raise ValueError(f"channels must be at least 1, but got {channels} -> {out_channels}")
    return out_channels, -(-height // stride), -(-width // stride)


def conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias and its batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class Conv(Op):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = conv_norm(in_channels, out_channels, kernel, stride)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return torch.relu(self.conv(x_nchw))

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return same_padded(shapes[0], attrs["out_channels"], attrs["kernel"], attrs["stride"])


class Basic(Op):
    """Residual block of two convolutions (He et al. 2016), with a projected shortcut where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv_norm(in_channels, out_channels, kernel, stride)
        self.conv2 = conv_norm(out_channels, out_channels, kernel)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = conv_norm(in_channels, out_channels, 1, stride) if changes else nn.Identity()

    def forward(self, x_nchw: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(x_nchw))) + self.shortcut(x_nchw))

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return same_padded(shapes[0], attrs["out_channels"], attrs["kernel"], attrs["stride"])


class MBConv(Op):
    """Inverted residual (Sandler et al. 2018): expand, depthwise, project; identity shortcut where it fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expand: float) -> None:
        super().__init__()
        mid = mbconv_mid_channels(in_channels, expand)
        self.expand = conv_norm(in_channels, mid, 1)
        self.depthwise = conv_norm(mid, mid, kernel, stride, groups=mid)
        self.project = conv_norm(mid, out_channels, 1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x_nchw: Tensor) -> Tensor:
        y = self.project(torch.relu(self.depthwise(torch.relu(self.expand(x_nchw)))))
        return x_nchw + y if self.residual else y

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return same_padded(shapes[0], attrs["out_channels"], attrs["kernel"], attrs["stride"])


def mbconv_mid_channels(in_channels: int, expand: float) -> int:
    """Channels between expansion and projection."""
    return max(1, round(in_channels * expand))


class SepConv(Op):
    """Depthwise and pointwise convolution, each with batch norm, one ReLU at the end."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.depthwise = conv_norm(in_channels, in_channels, kernel, stride, groups=in_channels)
        self.pointwise = conv_norm(in_channels, out_channels, 1)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return torch.relu(self.pointwise(self.depthwise(x_nchw)))

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return same_padded(shapes[0], attrs["out_channels"], attrs["kernel"], attrs["stride"])


class MaxPool(Op):
    """Max pooling with same padding."""

    sees_channels = False

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(kernel, stride, kernel // 2)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.pool(x_nchw)

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return same_padded(shapes[0], shapes[0][0], attrs["kernel"], attrs["stride"])


class AvgPool(Op):
    """Average pooling with same padding; padded cells don't count."""

    sees_channels = False

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.pool(x_nchw)

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return same_padded(shapes[0], shapes[0][0], attrs["kernel"], attrs["stride"])


class Add(Op):
    """Elementwise sum of any number of equal shapes: where the edges of a DAG cell meet."""

    sees_channels = False
    many_inputs = True

    def forward(self, *x_nchw: Tensor) -> Tensor:
        return torch.stack(x_nchw).sum(0) if len(x_nchw) > 1 else x_nchw[0]

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        if len(set(shapes)) != 1:
            raise ValueError(f"add needs inputs of one shape, but got {list(shapes)}")
        return shapes[0]


class Classifier(Op):
    """Global average pooling and a linear layer; the output shape is `(classes, 1, 1)`, the tensor `[N, classes]`."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, classes)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.linear(x_nchw.mean((2, 3)))

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return attrs["classes"], 1, 1


OPAQUE = "module"
"""Op name of an imported module that the Graph carries without looking inside (see `Graph`)."""

OPS: dict[str, type[Op]] = {
    "conv": Conv,
    "basic": Basic,
    "mbconv": MBConv,
    "sepconv": SepConv,
    "maxpool": MaxPool,
    "avgpool": AvgPool,
    "add": Add,
    "classifier": Classifier,
}
