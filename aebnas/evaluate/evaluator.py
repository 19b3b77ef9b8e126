"""Scoring one architecture with inherited weights: its ExitTables on the splits that decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aebnas.data.augment import Preprocessing
from aebnas.data.datasets import ImageSet
from aebnas.nn.supernet import Supernet
from aebnas.policy.table import ExitTable
from aebnas.policy.tabulate import tabulate
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture

Tables = dict[str, ExitTable]
"""Split name -> table."""


@dataclass(frozen=True)
class Evaluator:
    """All that scoring needs; picklable, so that a worker is given it once.

    `calibration` are batches `x_nchw` for norm statistics; `images` the splits to tabulate.
    """

    supernet: Supernet
    calibration: Sequence[Tensor]
    images: Mapping[str, ImageSet]
    preprocessing: Preprocessing
    criteria: tuple[str, ...]
    threads: int

    def network(self, architecture: Architecture) -> Network:
        """The architecture with inherited weights and recalibrated norms."""
        return self.supernet.extract(architecture, self.supernet.recalibrate(architecture, self.calibration))

    def tables(self, architecture: Architecture) -> Tables:
        """ExitTables of an architecture, in fp32 with the pinned number of threads; ValueError for NaN logits."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            network = self.network(architecture)
            return {
                name: tabulate(network, images, self.preprocessing, self.criteria)
                for name, images in self.images.items()
            }
        finally:
            torch.set_num_threads(before)
