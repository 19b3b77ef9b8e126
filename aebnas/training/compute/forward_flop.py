"""FLOP of forward passes outside of training steps."""

from collections.abc import Iterable, Sequence

from torch import Tensor

from aebnas.cost.counts import count_graph
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.training.compute.graph_flop import at_size
from aebnas.training.compute.layer_flop import FLOP_PER_MAC


def forward_flop(graph: Graph, batches: Iterable[Tensor]) -> float:
    """FLOP of a forward pass of all nodes on batches `x_nchw`.

    An op that depends on the image is charged with its most expensive candidate.
    """
    total = 0.0
    for x_nchw in batches:
        images, channels, height, width = x_nchw.shape
        macs = count_graph(at_size(graph, (channels, height, width))).macs.total
        total += FLOP_PER_MAC * macs * images
    return total


def norm_flop(network: Network, calibration: Sequence[Tensor]) -> float:
    """FLOP of estimating the norm statistics of a network on batches `x_nchw`."""
    return forward_flop(network.graph, calibration)
