"""Losses and modules of exit-aware training: soft exit distributions, their cost, and blended exits.

Legend: n samples, c classes, e exits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aebnas.runtime.network import Network
from aebnas.training.losses import sample_weights


def exit_distribution(stop_ne: Tensor) -> Tensor:
    """Probability of leaving at each exit, `[n, e]`, if each early exit stops with `stop_ne` (`[n, e - 1]`).

    q_i = s_i * prod_{m<i} (1 - s_m); the last exit gets the rest, so rows sum to 1.
    """
    ones_n1 = stop_ne.new_ones(len(stop_ne), 1)
    reached_ne = torch.cat([ones_n1, (1 - stop_ne).cumprod(1)], 1)
    return reached_ne * torch.cat([stop_ne, ones_n1], 1)


def soft_stops(logits: Sequence[Tensor], threshold: float, temperature: float) -> Tensor:
    """sigma((confidence - threshold) / temperature) of the early exits, `[n, e - 1]`."""
    confidences = [exit_nc.float().softmax(-1).amax(-1) for exit_nc in logits[:-1]]
    if not confidences:
        return logits[-1].new_empty(len(logits[-1]), 0, dtype=torch.float32)
    return ((torch.stack(confidences, 1) - threshold) / temperature).sigmoid()


def expected_cost(stop_ne: Tensor, cost_e: Tensor) -> Tensor:
    """Mean over the samples of sum_i q_i C_i, a scalar (DART's L_policy); `cost_e` are shares of the full cost."""
    return (exit_distribution(stop_ne) @ cost_e).mean()


def halting_loss(
    logits: Sequence[Tensor], stop_ne: Tensor, labels_n: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """Mean of sum_i q_i CE_i, a scalar: the expected loss if each exit stops with its stop head's probability.

    Exits' logits are detached, so that only stop heads and the layers before them receive gradients. `class_weights` as
    in `multi_exit_loss`.
    """
    losses_ne = torch.stack([F.cross_entropy(nc.detach().float(), labels_n, reduction="none") for nc in logits], 1)
    losses_n = (exit_distribution(stop_ne) * losses_ne).sum(1)
    return losses_n.mean() if class_weights is None else (sample_weights(labels_n, class_weights) * losses_n).mean()


@torch.no_grad()
def reach_weights(logits: Sequence[Tensor], threshold: float) -> list[float]:
    """Weights of the exits' losses, summing to 1: the shares of samples that reach each exit.

    A sample leaves at the first exit whose confidence exceeds the threshold.
    """
    reached_n = torch.ones(len(logits[0]), device=logits[0].device)
    shares = []
    for exit_nc in logits:
        shares.append(reached_n.mean())
        reached_n = reached_n * (exit_nc.float().softmax(-1).amax(-1) <= threshold)
    weights: list[float] = (torch.stack(shares) / torch.stack(shares).sum()).tolist()
    return weights


class Blended(nn.Module):
    """A network with a learned weight per exit; `forward` gives the logits of every exit, as the network's."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.beta_e = nn.Parameter(torch.zeros(len(network.graph.exits)))

    def forward(self, x_nchw: Tensor) -> list[Tensor]:
        return self.network(x_nchw)

    def blend(self, logits: Sequence[Tensor]) -> Tensor:
        """sum_i softmax(beta)_i y_i, `[n, c]`: requires all exits, so it saves no computation."""
        return torch.einsum("e,enc->nc", self.beta_e.softmax(0), torch.stack([nc.float() for nc in logits]))
