"""FLOP of forward passes outside of training steps."""

from collections.abc import Iterable

from torch import Tensor

from aebnas.core.metrics import MACS
from aebnas.cost.counts import count_graph
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.graph import Graph
from aebnas.training.compute.layer_flop import FLOP_PER_MAC


def forward_flop(graph: Graph, batches: Iterable[Tensor]) -> float:
    """FLOP of a forward pass of all nodes on batches `x_nchw` of the graph's own size.

    An op that depends on the image is charged with its most expensive candidate.
    """
    return float(FLOP_PER_MAC * count_graph(graph).macs.total * sum(map(len, batches)))


def table_flop(table: ExitTable) -> float:
    """FLOP of the forward passes from which a table was made, each of all nodes that ran for an image."""
    return FLOP_PER_MAC * table.costs[MACS].full * table.samples
