"""Initial weights that training starts from faster: identity convolutions and a whitening first convolution."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aebnas.training.training_spec import LoopSpec

_STEM = re.compile(r"(nodes\.stem\.|shared\.stem/)")
"""Beginning of the names of the stem's parameters in a Network and in a Supernet."""
WHITENING_EPSILON = 5e-4
"""Added to the variances of patches, so that directions without variance aren't amplified (Jordan 2024)."""


def set_initial_weights(module: nn.Module, spec: LoopSpec, images: Sequence[Tensor]) -> None:
    """Change the random weights of a new Network or Supernet as the recipe says.

    `images` are batches `[n, c, h, w]` of training images, normalised, for the whitening.
    """
    if spec.identity_init:
        make_identities(module)
    if spec.whiten:
        for name, parameter in module.named_parameters():
            if parameter.ndim == 4 and _STEM.match(name):
                whiten(parameter, images)


@torch.no_grad()
def make_identities(module: nn.Module) -> None:
    """Make the first output channels of convolutions copies of their inputs (a partial Dirac, Jordan 2024).

    Of all parameters, those of four dimensions with a kernel above 1, more than one input channel and at least as many
    output channels are changed; in them, output channels beyond the number of inputs stay as they are. The stem, whose
    inputs are colours, stays, too.
    """
    for name, weight in module.named_parameters():
        if _STEM.match(name):
            continue
        if weight.ndim == 4 and 1 < weight.shape[1] <= weight.shape[0] and weight.shape[2] == weight.shape[3] > 1:
            nn.init.dirac_(weight[: weight.shape[1]])


@torch.no_grad()
def whiten(filters: Tensor, images: Sequence[Tensor]) -> None:
    """Set filters `[out, in, k, k]` to the largest directions of variance of images' patches, scaled to variance 1.

    `images` are batches `[n, in, h, w]`, normalised. Each direction gives a filter and its negative, since what
    follows a rectifier loses negative answers; an odd last filter is left as it is. Directions are those of the
    largest variance, as many as there are (Jordan 2024, with the bias that the norm has).
    """
    out, channels, kernel, _ = filters.shape
    count = min(out // 2, channels * kernel * kernel)
    size, total, covariance = channels * kernel * kernel, 0, torch.zeros((), dtype=torch.float64)
    for x_nchw in images:
        patches = x_nchw.double().unfold(2, kernel, 1).unfold(3, kernel, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, size)
        covariance = covariance + patches.T @ patches
        total += len(patches)
    variances, directions = torch.linalg.eigh(covariance / max(total, 1))
    order = variances.argsort(descending=True)[:count]
    scaled = (directions[:, order] / (variances[order] + WHITENING_EPSILON).sqrt()).T.reshape(-1, *filters.shape[1:])
    filters[: 2 * count : 2].copy_(scaled)
    filters[1 : 2 * count : 2].copy_(-scaled)
