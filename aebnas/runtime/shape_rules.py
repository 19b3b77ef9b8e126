"""Shape rules of ops, and the derived numbers of channels of their modules.

Imports no torch, so that specs are checked, counted and drawn before it is loaded. Shapes are `(channels, height,
width)` of one sample.
"""

from collections.abc import Callable, Sequence
from typing import Any

Shape = tuple[int, int, int]
ShapeRule = Callable[..., Shape]
"""`rule(input_shapes, **attributes)` returns the output's shape; raises ValueError where the op cannot run (Unfit for
an attribute that doesn't fit)."""

ACTIVATION_NAMES = ("relu", "hswish")
"""The values of an op's `act`."""
GLOBAL_POOL_NAMES = ("avg", "max", "avgmax")
"""The values of a classifier's `pool`."""
SQUEEZE_RATIO = 0.25


class Unfit(ValueError):
    """An attribute with which an op cannot run: its name, the rule, the value."""

    def __init__(self, attribute: str, rule: str, value: object) -> None:
        super().__init__(attribute, rule, value)
        self.attribute, self.rule, self.value = attribute, rule, value

    def __str__(self) -> str:
        return f"{self.attribute} {self.rule}, but got {self.value}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people read it: `3 x 32 x 32`."""
    return " x ".join(map(str, shape))


def same_padded(shape: Shape, out_channels: int, kernel: int, stride: int) -> Shape:
    """Output shape of a window op with padding kernel // 2; raises Unfit for a kernel or stride that doesn't fit."""
    channels, height, width = shape
    side = min(height, width)
    if kernel % 2 == 0 or kernel < 1:
        raise Unfit("kernel", "must be odd and positive", kernel)
    if kernel > 2 * side - 1:
        raise Unfit("kernel", f"must be at most {2 * side - 1}, to fit its {height}x{width} map", kernel)
    if stride < 1:
        raise Unfit("stride", "must be at least 1", stride)
    if stride > 1 and side < stride:
        raise Unfit("stride", f"must be at most {side}, or nothing is left of its {height}x{width} map", stride)
    if channels < 1 or out_channels < 1:
        raise ValueError(f"channels must be at least 1, but got {channels} -> {out_channels}")
    return out_channels, -(-height // stride), -(-width // stride)


def window(shapes: Sequence[Shape], **attrs: Any) -> Shape:
    """Rule of ops with a same-padded sliding window: `kernel`, `stride`, and `out_channels` unless they are kept."""
    return same_padded(shapes[0], attrs.get("out_channels", shapes[0][0]), attrs["kernel"], attrs["stride"])


def resized(shapes: Sequence[Shape], **attrs: Any) -> Shape:
    """Rule of `resize` to `side` (see `sides`)."""
    height, width = sides(attrs["side"])
    if min(height, width) < 1:
        raise Unfit("side", "must be at least 1", attrs["side"])
    return shapes[0][0], height, width


def sides(side: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of a size that is one number of pixels a side, or both."""
    if isinstance(side, int):
        return side, side
    height, width = side
    return height, width


def equal(shapes: Sequence[Shape], **attrs: Any) -> Shape:
    """Rule of ops whose inputs and output are of one shape."""
    if len(set(shapes)) != 1:
        raise ValueError(f"inputs must be of one shape, but got {list(shapes)}")
    return shapes[0]


def boosted(shapes: Sequence[Shape], **attrs: Any) -> Shape:
    """Rule of `boost`: an exit's own logits and those of the exit before it."""
    if len(shapes) != 2:
        raise ValueError(f"inputs must be the logits of two exits, but got {len(shapes)}")
    return equal(shapes)


def class_scores(shapes: Sequence[Shape], **attrs: Any) -> Shape:
    """Rule of classifiers: one number for each of `classes`."""
    return attrs["classes"], 1, 1


def mid_channels(in_channels: int, expand: float) -> int:
    """Channels between the expansion and the projection of an inverted residual."""
    return max(1, round(in_channels * expand))


def squeezed_channels(channels: int) -> int:
    """Channels inside a squeeze-excite over `channels`: a quarter, as in MobileNetV3 (not rounded to multiples of
    8)."""
    return max(1, round(channels * SQUEEZE_RATIO))
