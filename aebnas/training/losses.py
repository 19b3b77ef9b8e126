"""Losses over all exits of a network.

Legend: n samples, c classes, e exits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aebnas.data.on_device import to_device


def label_loss(
    logits_nc: Tensor, labels_n: Tensor, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Mean over samples of the cross-entropy against their labels, each times the weight of its class (`[c]`).

    Unlike torch's weighted cross-entropy, the mean is over the number of samples, so that it is the same for one
    process and for several that take shares of a batch; and the smoothed part of a label has its sample's weight, since
    with weights by class it would draw every sample to the rare classes.
    """
    if class_weights is None:
        return F.cross_entropy(logits_nc, labels_n, label_smoothing=label_smoothing)
    if labels_n.ndim == 1:
        losses_n = F.cross_entropy(logits_nc, labels_n, label_smoothing=label_smoothing, reduction="none")
        return (class_weights[labels_n] * losses_n).mean()
    weighted_nc = class_weights * labels_n
    spread_n1 = weighted_nc.sum(1, keepdim=True) / logits_nc.shape[1]
    return F.cross_entropy(logits_nc, (1 - label_smoothing) * weighted_nc + label_smoothing * spread_n1)


def sample_weights(labels_n: Tensor, class_weights: Tensor) -> Tensor:
    """The weights of samples `[n]`: those of their classes, mixed as the labels of mixtures are."""
    return class_weights[labels_n] if labels_n.ndim == 1 else labels_n @ class_weights


def on_device(class_weights: Tensor | None, device: torch.device) -> Tensor | None:
    """The weights on a device."""
    return None if class_weights is None else to_device(class_weights, device)


def multi_exit_loss(
    logits: Sequence[Tensor],
    labels_n: Tensor,
    weights: Sequence[float],
    label_smoothing: float,
    teacher_nc: Tensor | None,
    distillation: float,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Sum over exits of weight * [(1 - d) CE(labels) + d CE(teacher's probabilities)].

    `logits` holds `[n, c]` of every exit, `labels_n` class numbers or (of mixtures) probabilities `[n, c]`.
    Without a teacher, d is 0: the loss is that of the labels. Cross-entropy against soft targets has the gradient of
    the KL divergence (Hinton et al. 2015, temperature 1; the sandwich rule's in-place distillation). `class_weights`
    `[c]` weight a sample's whole loss, so that in expectation they act as if its class were drawn that often.
    """
    total = torch.zeros((), device=labels_n.device)
    for exit_nc, weight in zip(logits, weights, strict=True):
        exit_nc = exit_nc.float()
        loss = label_loss(exit_nc, labels_n, label_smoothing, class_weights)
        if teacher_nc is not None and distillation > 0:
            if class_weights is None:
                soft = F.cross_entropy(exit_nc, teacher_nc)
            else:
                soft_n = F.cross_entropy(exit_nc, teacher_nc, reduction="none")
                soft = (sample_weights(labels_n, class_weights) * soft_n).mean()
            loss = (1 - distillation) * loss + distillation * soft
        total = total + weight * loss
    return total


def teacher(logits: Sequence[Tensor], distil_from: str) -> Tensor:
    """A network's probabilities as teacher `[n, c]`, detached: of its `last` exit, or of the mean of all its exits'
    logits (`ensemble`)."""
    return probabilities(logits[-1] if distil_from == "last" else torch.stack([nc.float() for nc in logits]).mean(0))


def self_distillation_loss(
    logits: Sequence[Tensor],
    labels_n: Tensor,
    weights: Sequence[float],
    label_smoothing: float,
    distillation: float,
    class_weights: Tensor | None = None,
    distil_from: str = "last",
) -> Tensor:
    """`multi_exit_loss` with the network itself as teacher.

    From its `last` exit the earlier ones learn, and the last learns from labels only; from the `ensemble` all do.
    `logits` holds `[n, c]` of every exit.
    """
    taught = len(logits) - 1 if distil_from == "last" else len(logits)
    rest = multi_exit_loss(
        logits[taught:], labels_n, weights[taught:], label_smoothing, None, distillation, class_weights
    )
    if len(logits) == 1:
        return multi_exit_loss(logits, labels_n, weights, label_smoothing, None, distillation, class_weights)
    teacher_nc = teacher(logits, distil_from)
    distilled = multi_exit_loss(
        logits[:taught], labels_n, weights[:taught], label_smoothing, teacher_nc, distillation, class_weights
    )
    return distilled + rest


def probabilities(logits_nc: Tensor) -> Tensor:
    """A teacher's probabilities `[n, c]`, detached from its gradient."""
    return logits_nc.detach().float().softmax(-1)
