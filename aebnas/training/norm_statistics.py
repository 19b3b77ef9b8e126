"""Batch-norm statistics of a network's weights, estimated on calibration images.

They are plain means over batches of the batch statistics. Where the op of an edge depends on the image, a candidate
only runs for images that select it; one that no calibration image selects may still be selected by other images. Its
statistics are estimated on all images that reach the edge, so that no norm keeps mean 0 and variance 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from aebnas.runtime.choice import Choice
from aebnas.runtime.network import Network


@torch.no_grad()
def estimate_norms(network: Network, calibration: Sequence[Tensor]) -> Network:
    """Estimate all norm statistics again, in place, on batches `x_nchw`; returns the network in evaluation mode.

    Without batches they are the initial mean 0 and variance 1.
    """
    update_bn(calibration, network)
    network.eval()
    if calibration:
        _estimate_unselected(network, calibration)
    return network


@torch.no_grad()
def estimate_norms_of(network: Network, names: Iterable[str], calibration: Sequence[Tensor]) -> None:
    """As `estimate_norms`, only for the norms of the named nodes; the others are unchanged."""
    with _collecting(network, [norm for name in names for norm in norms_in(network.nodes[name])]):
        for x_nchw in calibration:
            network(x_nchw)


def norms_in(module: nn.Module) -> Iterator[nn.BatchNorm2d]:
    """All batch norms of a module."""
    return (part for part in module.modules() if isinstance(part, nn.BatchNorm2d))


def _estimate_unselected(network: Network, calibration: Sequence[Tensor]) -> None:
    """Estimate the statistics of candidates that have none yet; everything else runs as in inference."""
    choices = [module for module in network.modules() if isinstance(module, Choice)]
    unselected = [
        (choice, op) for choice in choices for op in choice.ops if any(not n.num_batches_tracked for n in norms_in(op))
    ]
    if not unselected:
        return
    with ExitStack() as stack:
        stack.enter_context(_collecting(network, [norm for _, op in unselected for norm in norms_in(op)]))
        for choice, op in unselected:
            stack.callback(choice.register_forward_pre_hook(partial(_run_candidate, op)).remove)
        for x_nchw in calibration:
            network(x_nchw)


def _run_candidate(op: nn.Module, choice: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Forward pre-hook of a choice: run a candidate on all images that reach the edge, to collect its statistics."""
    op(inputs[0])


@contextmanager
def _collecting(network: Network, norms: Sequence[nn.BatchNorm2d]) -> Iterator[None]:
    """Forward passes inside estimate the statistics of `norms` from the start; everything else is in evaluation mode,
    and so is the whole network afterwards."""
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()
