"""DART's difficulty of an image, estimated before any network runs: edges, variance and fine structure, in integers.

alpha = w1 * edge + w2 * variance + w3 * gradient, each term scaled to [0, 1] by a constant fitted beforehand. All sums
are of integers, so an image has the same alpha in any batch and on any machine. Everything is expressed in tensor
methods, so a difficulty can be read and written without loading torch.

Legend: n images, c channels, h, w sides; 3 terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (0.4, 0.3, 0.3)
"""DART's weights of the edge, variance and gradient terms."""

LUMA = (77, 150, 29)
"""Weights of red, green and blue in a grey value, in 256ths (ITU-R BT.601)."""

MIN_SIDE = 3
"""Minimum height and width in pixels: an image must have an inner pixel with all its neighbours."""

TERMS_VERSION = 2
"""Version of the terms' definition, to which scales are fitted. In version 1, whose JSON has no version, the gradient
term multiplied each grey value by its Laplacian; now it is the Laplacian convolution only."""


@dataclass(frozen=True)
class Difficulty:
    """The estimator: `tau_edge` in units of the image's range, `scales` by which the terms are divided, and weights.

    Raises ValueError for negative or non-finite numbers, scales of 0 or weights that don't sum to 1.
    """

    tau_edge: float
    scales: tuple[float, float, float]
    weights: tuple[float, float, float] = WEIGHTS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tau_edge) and self.tau_edge >= 0):
            raise ValueError(f"tau_edge must be finite and at least 0, but got {self.tau_edge}")
        if len(self.scales) != 3 or not all(math.isfinite(scale) and scale > 0 for scale in self.scales):
            raise ValueError(f"scales must be three positive numbers, but got {self.scales}")
        if len(self.weights) != 3 or min(self.weights) < 0 or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(f"weights must be three numbers from 0 that sum to 1, but got {self.weights}")

    def alpha(self, pixels: Tensor) -> Tensor:
        """Difficulty in [0, 1], float32 `[n]`, of uint8 `[n, c, h, w]`; raises ValueError for others."""
        return self.mix(terms(pixels, self.tau_edge))

    def mix(self, terms_n3: Tensor) -> Tensor:
        """Difficulty in [0, 1], float32 `[n]`, from the terms before scaling, `[n, 3]`."""
        shares_n3 = (terms_n3 / terms_n3.new_tensor(self.scales)).clamp(0.0, 1.0)
        return (shares_n3 * shares_n3.new_tensor(self.weights)).sum(-1).clamp(0.0, 1.0).float()

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        constants = {"tau_edge": self.tau_edge, "scales": list(self.scales), "weights": list(self.weights)}
        return constants | {"terms_version": TERMS_VERSION}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Difficulty:
        """Read what `to_json` wrote; raises ValueError for constants that were fitted to other terms."""
        version = value.get("terms_version", 1)
        if version == 1:
            raise ValueError("the difficulty was fitted with the earlier gradient term; calibrate the run again")
        if version != TERMS_VERSION:
            raise ValueError(f"terms_version must be {TERMS_VERSION}, but got {version}")
        return cls(value["tau_edge"], tuple(value["scales"]), tuple(value["weights"]))


def terms(pixels: Tensor, tau_edge: float) -> Tensor:
    """The three terms before scaling, float64 `[n, 3]`, of uint8 `[n, c, h, w]`, pixels taken as [0, 1].

    Edge: share of inner pixels whose Sobel gradient exceeds `tau_edge`. Variance: mean over channels of the spatial
    variance. Gradient: mean absolute value of the grey image convolved with the Laplacian (4 neighbours, centre -4), so
    adding a constant to all pixels doesn't change it. The grey value of other than 1 or 3 channels is their mean.
    Raises ValueError for images of another type or shape.
    """
    grey_nhw, white = _grey(pixels)
    inner = (grey_nhw.shape[1] - 2) * (grey_nhw.shape[2] - 2)
    edges_n = (_squared_gradient(grey_nhw) > (tau_edge * white) ** 2).sum((1, 2)).double() / inner
    centre_nhw = grey_nhw[:, 1:-1, 1:-1]
    around_nhw = grey_nhw[:, :-2, 1:-1] + grey_nhw[:, 2:, 1:-1] + grey_nhw[:, 1:-1, :-2] + grey_nhw[:, 1:-1, 2:]
    fine_n = (around_nhw - 4 * centre_nhw).abs().sum((1, 2)).double() / (inner * white)
    terms_n3 = edges_n.new_empty(len(edges_n), 3)
    terms_n3[:, 0], terms_n3[:, 1], terms_n3[:, 2] = edges_n, _variance(pixels), fine_n
    return terms_n3


def gradient_magnitude(pixels: Tensor) -> Tensor:
    """Mean Sobel gradient over the inner pixels of each image, float64 `[n]`, pixels taken as [0, 1]."""
    grey_nhw, white = _grey(pixels)
    return _squared_gradient(grey_nhw).double().sqrt().mean((1, 2)) / white


def estimable(shape: Sequence[int]) -> bool:
    """Whether the difficulty of images of `shape` (c, h, w) is defined."""
    return shape[0] >= 1 and min(shape[1:]) >= MIN_SIDE


def estimator_macs(shape: tuple[int, int, int]) -> int:
    """Multiply-adds of the estimator for one image of `shape` (c, h, w); the windows count as dense convolutions."""
    channels, height, width = shape
    inner = (height - 2) * (width - 2)
    grey = channels * height * width if channels > 1 else 0
    windows = 3 * 9 * inner  # two Sobel windows and a Laplacian
    squares = 2 * inner  # of the two gradients
    return grey + windows + squares + channels * height * width  # the last: squares for the variance


def _grey(pixels: Tensor) -> tuple[Tensor, int]:
    """Grey values, int64 `[n, h, w]`, and that of white."""
    if str(pixels.dtype) != "torch.uint8" or pixels.ndim != 4 or not estimable(pixels.shape[1:]):
        want = f"uint8 [n, c, h, w] of {MIN_SIDE} or more pixels a side"
        raise ValueError(f"images must be {want}, but got {pixels.dtype} {list(pixels.shape)}")
    wide, channels = pixels.long(), pixels.shape[1]
    if channels == 3:
        return wide[:, 0] * LUMA[0] + wide[:, 1] * LUMA[1] + wide[:, 2] * LUMA[2], sum(LUMA) * 255
    return wide.sum(1), channels * 255


def _squared_gradient(grey_nhw: Tensor) -> Tensor:
    """Gx^2 + Gy^2 of the Sobel windows at the inner pixels, int64 `[n, h - 2, w - 2]`."""
    down_nhw = grey_nhw[:, :-2] + 2 * grey_nhw[:, 1:-1] + grey_nhw[:, 2:]
    right_nhw = grey_nhw[:, :, :-2] + 2 * grey_nhw[:, :, 1:-1] + grey_nhw[:, :, 2:]
    return (down_nhw[:, :, 2:] - down_nhw[:, :, :-2]) ** 2 + (right_nhw[:, 2:] - right_nhw[:, :-2]) ** 2


def _variance(pixels: Tensor) -> Tensor:
    """Mean over channels of the spatial variance, float64 `[n]`, pixels taken as [0, 1]."""
    flat_ncp = pixels.long().flatten(2)
    count = flat_ncp.shape[2]
    spread_nc = count * (flat_ncp * flat_ncp).sum(2) - flat_ncp.sum(2) ** 2
    return spread_nc.double().mean(1) / (count * 255) ** 2
