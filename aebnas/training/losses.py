"""Losses over all exits of a network.

Legend: n samples, c classes, e exits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def multi_exit_loss(
    logits: Sequence[Tensor],
    labels_n: Tensor,
    weights: Sequence[float],
    label_smoothing: float,
    teacher_nc: Tensor | None,
    distillation: float,
) -> Tensor:
    """Sum over exits of weight * [(1 - d) CE(labels) + d CE(teacher's probabilities)].

    `logits` holds `[n, c]` of every exit, `labels_n` class numbers or (of mixtures) probabilities `[n, c]`.
    Without a teacher, d is 0: the loss is that of the labels. Cross-entropy against soft targets has the gradient of
    the KL divergence (Hinton et al. 2015, temperature 1; the sandwich rule's in-place distillation).
    """
    total = torch.zeros((), device=labels_n.device)
    for exit_nc, weight in zip(logits, weights, strict=True):
        exit_nc = exit_nc.float()
        loss = F.cross_entropy(exit_nc, labels_n, label_smoothing=label_smoothing)
        if teacher_nc is not None and distillation > 0:
            soft = F.cross_entropy(exit_nc, teacher_nc)
            loss = (1 - distillation) * loss + distillation * soft
        total = total + weight * loss
    return total


def self_distillation_loss(
    logits: Sequence[Tensor],
    labels_n: Tensor,
    weights: Sequence[float],
    label_smoothing: float,
    distillation: float,
) -> Tensor:
    """`multi_exit_loss` with the network's last exit as teacher of the earlier ones; the last exit learns from labels.

    `logits` holds `[n, c]` of every exit.
    """
    *early, last = logits
    loss = multi_exit_loss([last], labels_n, weights[-1:], label_smoothing, None, distillation)
    if not early:
        return loss
    distilled = multi_exit_loss(early, labels_n, weights[:-1], label_smoothing, probabilities(last), distillation)
    return distilled + loss


def probabilities(logits_nc: Tensor) -> Tensor:
    """A teacher's probabilities `[n, c]`, detached from its gradient."""
    return logits_nc.detach().float().softmax(-1)
