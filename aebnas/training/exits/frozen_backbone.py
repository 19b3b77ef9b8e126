"""Training branches on a frozen backbone, whose norm statistics stay as they are."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from aebnas.runtime.network import Network


def branch_nodes(network: Network) -> list[str]:
    """Names of the nodes of early exits' branches."""
    return [node.name for segment in network.graph.segments()[:-1] for node in segment.branch]


def freeze_backbone(network: Network) -> None:
    """Let nothing but early exits' branches get a gradient."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        module.requires_grad_(name in branches)


def backbone_to_eval(network: Network) -> None:
    """Put all but early exits' branches into evaluation mode: their norms use and keep the statistics they have."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        if name not in branches:
            module.eval()


@torch.no_grad()
def refit_norms(network: Network, names: Iterable[str], calibration: Sequence[Tensor]) -> None:
    """Take the norm statistics of these nodes anew, as means over `calibration` (`x_nchw`); all others stay.

    Leaves the network in evaluation mode.
    """
    norms = [norm for name in names for norm in _norms(network.nodes[name])]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for x_nchw in calibration:
        network(x_nchw)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def _norms(module: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (part for part in module.modules() if isinstance(part, nn.BatchNorm2d))
