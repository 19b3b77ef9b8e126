"""The objective of input-adaptive hard-exit DARTS.

    q_i = s_i * prod_{m<i} (1 - s_m), q_E the rest; y_hat = sum_i q_i y_i; F(x) = sum_i q_i C_i(x)
    loss = CE(y_hat) + aux * mean_{i<E} CE(y_i) + lambda * mean F + mu * mean |Delta alpha|^2

The means are over samples; |Delta alpha|^2 is the sum over edges and candidates.
Legend: n samples, e exits, c classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from aebnas.supernet.darts.relaxed_network import RelaxedOutputs
from aebnas.training.exits.exit_losses import exit_distribution
from aebnas.training.losses import label_loss


class Soft(NamedTuple):
    """The exit distribution `q_ne`, the expected logits `logits_nc` and the expected cost `cost_n` of n samples."""

    q_ne: Tensor
    logits_nc: Tensor
    cost_n: Tensor


def soft_exits(outputs: RelaxedOutputs, cost_ne: Tensor) -> Soft:
    """The expectations for samples whose cost at each exit is `cost_ne`, `[n or 1, e]`."""
    q_ne = exit_distribution(outputs.stop_logits_nk.sigmoid())
    logits_nec = torch.stack([exit_nc.float() for exit_nc in outputs.logits], 1)
    return Soft(q_ne, torch.einsum("ne,nec->nc", q_ne, logits_nec), (q_ne * cost_ne).sum(1))


def relaxed_loss(
    outputs: RelaxedOutputs,
    labels_n: Tensor,
    cost_ne: Tensor,
    weight: float,
    aux: float,
    mu: float,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The objective, a scalar; `weight` is lambda(t), `labels_n` class numbers or probabilities `[n, c]`.

    `class_weights` `[c]` weight the cross-entropies of the samples, not their costs.
    """
    soft = soft_exits(outputs, cost_ne)

    def entropy(logits_nc: Tensor) -> Tensor:
        return label_loss(logits_nc.float(), labels_n, label_smoothing, class_weights)

    loss = entropy(soft.logits_nc) + weight * soft.cost_n.mean()
    if aux and len(outputs.logits) > 1:
        loss = loss + aux * torch.stack([entropy(exit_nc) for exit_nc in outputs.logits[:-1]]).mean()
    if mu and outputs.delta_ngk is not None:
        loss = loss + mu * outputs.delta_ngk.square().sum((1, 2)).mean()
    return loss
