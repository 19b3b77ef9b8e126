"""Fitting the constants of the difficulty estimator on images, and measuring its latency.

Legend: n images; 3 terms.
"""

import statistics
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from aebnas.cost.latency.stopwatch import call_times_ms
from aebnas.data.image_set import ImageSet
from aebnas.runtime.difficulty import WEIGHTS, Difficulty, gradient_magnitude, terms

AT_ONCE = 500
PERCENTILE = 99


def fit_difficulty(
    images: ImageSet, tau_edge: float | None = None, weights: tuple[float, float, float] = WEIGHTS
) -> Difficulty:
    """The estimator whose terms reach 1 at their 99th percentile over `images` (those of `calibrate`).

    `tau_edge` is the mean gradient magnitude over them unless given. Raises ValueError for no images.
    """
    if not len(images):
        raise ValueError("the difficulty's constants must be fitted on at least one image, but got none")
    if tau_edge is None:
        tau_edge = float(torch.cat([gradient_magnitude(part) for part in _parts(images)]).mean())
    terms_n3 = raw_terms(images, tau_edge)
    scales = np.percentile(terms_n3.numpy(), PERCENTILE, axis=0)
    edge, variance, fine = (float(scale) if scale > 0 else 1.0 for scale in scales)  # a term that is always 0 stays 0
    return Difficulty(tau_edge, (edge, variance, fine), weights)


def raw_terms(images: ImageSet, tau_edge: float) -> Tensor:
    """The three terms of all images before scaling, float64 `[n, 3]`."""
    return torch.cat([terms(part, tau_edge).cpu() for part in _parts(images)])


def alphas(images: ImageSet, difficulty: Difficulty) -> np.ndarray:
    """Difficulty of all images, float32 `[n]`."""
    return difficulty.mix(raw_terms(images, difficulty.tau_edge)).numpy()


def estimator_latency_ms(difficulty: Difficulty, shape: tuple[int, int, int], batch: int = 1, calls: int = 50) -> float:
    """Median time in ms of estimating a batch of images of `shape` (c, h, w) on this CPU, over `calls` calls."""
    pixels = torch.zeros(batch, *shape, dtype=torch.uint8)
    return statistics.median(call_times_ms(lambda: difficulty.alpha(pixels), "cpu", calls))


def _parts(images: ImageSet) -> Iterator[Tensor]:
    return (images.pixels(slice(start, start + AT_ONCE)) for start in range(0, len(images), AT_ONCE))
