"""What an op is, and what ops are made of: the base classes, the same-padding rule, activations.

Shapes are `(channels, height, width)` of one sample; a batch `x_nchw` puts N in front.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, int, int]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "hswish": functional.hardswish}
"""What the `act` of an op can name; h-swish as in MobileNetV3 (Howard et al. 2019)."""


class Op(nn.Module):
    """Base of all ops: a module class built from its attributes alone, with a static shape rule.

    The constructor's arguments say which choices mean something for the op: one that takes `expand` is given
    the block's expansion, one that doesn't leaves that gene inactive. `many_inputs` tells whether it takes more
    than one input.
    """

    many_inputs: ClassVar[bool] = False

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        """Shape of the output for the shapes of the inputs; raises ValueError where the op cannot run."""
        raise AssertionError("every op states its shape rule")

    @classmethod
    @cache
    def takes(cls) -> frozenset[str]:
        """Names of all attributes."""
        return frozenset(argument.name for argument in _arguments(cls))

    @classmethod
    @cache
    def needs(cls) -> frozenset[str]:
        """Names of the attributes without a default."""
        return frozenset(argument.name for argument in _arguments(cls) if argument.default is argument.empty)


def _arguments(op: type[Op]) -> list[inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [argument for argument in inspect.signature(op).parameters.values() if argument.kind in named]


class WindowOp(Op):
    """An op that slides a same-padded window: `kernel`, `stride`, and `out_channels` unless it keeps them."""

    @staticmethod
    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        return same_padded(shapes[0], attrs.get("out_channels", shapes[0][0]), attrs["kernel"], attrs["stride"])


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
