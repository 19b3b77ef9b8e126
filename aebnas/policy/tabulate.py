"""Running a network once over a set of pictures to fill its ExitTable."""

from collections.abc import Sequence

import torch

from aebnas.cost.counts import count_graph
from aebnas.data.augment import Preprocessing, eval_batches
from aebnas.data.images import ImageSet
from aebnas.policy.table import ExitTable
from aebnas.runtime.network import Network

EVAL_BATCH = 250


@torch.inference_mode()
def tabulate(network: Network, images: ImageSet, preprocessing: Preprocessing, criteria: Sequence[str]) -> ExitTable:
    """The ExitTable of `network` (in evaluation mode, fp32) on `images`; raises ValueError for NaN logits."""
    device = next(network.parameters()).device
    logits, labels = [], []
    for x_nchw, labels_n in eval_batches(images, preprocessing, EVAL_BATCH):
        logits.append(torch.stack([exit_nc.float().cpu() for exit_nc in network(x_nchw.to(device))], 1))
        labels.append(labels_n.cpu())
    return ExitTable.from_logits(torch.cat(logits), torch.cat(labels), criteria, count_graph(network.graph).macs)
