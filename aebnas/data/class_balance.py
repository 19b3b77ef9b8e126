"""Weights of classes by their numbers of images, and the order of images in which classes are equally frequent.

Legend: n images, k classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def balanced_weights(labels_n: Tensor, classes: int) -> Tensor:
    """Weights of classes, float32 `[k]`: n / (number of classes with images * images of the class), whose mean over the
    images is 1 (scikit-learn's "balanced"). A class without images has weight 1.
    """
    count_k = torch.bincount(labels_n, minlength=classes).double()
    present = int((count_k > 0).sum())
    return torch.where(count_k > 0, len(labels_n) / (present * count_k), 1.0).float()


def scaled_weights(labels_n: Tensor, classes: int, weights: Mapping[int, float]) -> Tensor:
    """Weights of classes, float32 `[k]`: those given by label, 1 for the others, scaled to a mean of 1 over the
    images."""
    weight_k = torch.ones(classes, dtype=torch.float64)
    for label, weight in weights.items():
        weight_k[label] = weight
    return (weight_k / weight_k[labels_n].mean()).float()


def balanced_order(labels_n: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices of `count` images drawn with replacement, int64 `[count]`: each is of every class that has images with
    equal probability, and of a class each image is equally likely."""
    count_k = torch.bincount(labels_n)
    return torch.multinomial(1.0 / count_k[labels_n].double(), count, replacement=True, generator=generator)
