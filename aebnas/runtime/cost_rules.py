"""Cost rules of ops: multiply-adds, parameters and normed channels of one layer for one sample.

One multiply-add is one MAC; convolutions and linear layers only, as fvcore counts them (batch norm folds away;
activations, pooling, resizing, gating and additions are not counted). Imports no torch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from .shape_rules import Shape, mid_channels, squeezed_channels

BYTES_PER_WEIGHT = 4


class Counts(NamedTuple):
    """Counts of one layer for one sample; `norm_channels` is the number of batch-normed channels."""

    macs: int
    params: int
    norm_channels: int = 0

    def __add__(self, other: object) -> "Counts":
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def weight_bytes(self) -> int:
        """Bytes in fp32: parameters, and a mean and a variance for every normed channel."""
        return BYTES_PER_WEIGHT * (self.params + 2 * self.norm_channels)


CountRule = Callable[[Shape, Shape, dict[str, Any]], Counts]
"""(input shape, output shape, attributes) -> counts."""


def conv_norm_counts(in_channels: int, out: Shape, kernel: int, groups: int = 1) -> Counts:
    """A convolution without bias whose output has the shape `out`, and its batch norm."""
    weights = out[0] * (in_channels // groups) * kernel * kernel
    return Counts(weights * out[1] * out[2], weights + 2 * out[0], out[0])


def conv_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    return conv_norm_counts(in_shape[0], out, attrs["kernel"])


def basic_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    counts = conv_norm_counts(in_shape[0], out, attrs["kernel"]) + conv_norm_counts(out[0], out, attrs["kernel"])
    changes = attrs["stride"] != 1 or in_shape[0] != out[0]
    return counts + conv_norm_counts(in_shape[0], out, 1) if changes else counts


def mbconv_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    mid = mid_channels(in_shape[0], attrs["expand"])
    mid_out = (mid, *out[1:])
    return (
        conv_norm_counts(in_shape[0], (mid, *in_shape[1:]), 1)
        + conv_norm_counts(mid, mid_out, attrs["kernel"], groups=mid)
        + _squeeze_excite(mid, attrs)
        + conv_norm_counts(mid, out, 1)
    )


def fused_mbconv_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    mid = mid_channels(in_shape[0], attrs["expand"])
    expand = conv_norm_counts(in_shape[0], (mid, *out[1:]), attrs["kernel"])
    return expand + _squeeze_excite(mid, attrs) + conv_norm_counts(mid, out, 1)


def _squeeze_excite(channels: int, attrs: dict[str, Any]) -> Counts:
    if not attrs.get("se", False):
        return Counts(0, 0)
    squeezed = squeezed_channels(channels)
    return Counts(2 * channels * squeezed, 2 * channels * squeezed + squeezed + channels)


def sepconv_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    channels = in_shape[0]
    depthwise = conv_norm_counts(channels, (channels, *out[1:]), attrs["kernel"], groups=channels)
    return depthwise + conv_norm_counts(channels, out, 1)


def free(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    return Counts(0, 0)


def classifier_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    return Counts(in_shape[0] * out[0], (in_shape[0] + 1) * out[0])
