"""Scoring one architecture, with inherited weights or trained by itself: its ExitTables on the splits that decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aebnas.cost.model import COUNTS, CostModel
from aebnas.data.augment import Batches, Preprocessing
from aebnas.data.images import ImageSet
from aebnas.determinism import pinned
from aebnas.nn.supernet import Supernet
from aebnas.policy.table import ExitTable
from aebnas.policy.tabulate import tabulate
from aebnas.progress import MakeBar, no_bar
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.train.config import TrainSpec
from aebnas.train.single import fresh_network
from aebnas.train.stages import fit_network
from aebnas.train.stop_heads import prepared

Tables = dict[str, ExitTable]
"""Split name -> table."""


@dataclass(frozen=True)
class Scored:
    """What became of an architecture: its tables, and the network (on the CPU) where it was trained by itself."""

    tables: Tables
    network: Network | None


@dataclass(frozen=True)
class OwnTraining:
    """How a candidate is trained by itself: `spec` on `batches`, seeded by `seed` and the architecture."""

    spec: TrainSpec
    batches: Batches
    seed: int

    def seed_of(self, architecture: Architecture) -> int:
        """The same wherever and whenever the architecture is trained."""
        return int(np.random.SeedSequence([self.seed, int(architecture.id, 16)]).generate_state(1)[0])

    def fresh(self, architecture: Architecture) -> Network:
        """The architecture with newly drawn weights."""
        return fresh_network(architecture, self.seed_of(architecture))

    def train(
        self, network: Network, architecture: Architecture, calibration: Sequence[Tensor], progress: MakeBar
    ) -> Network:
        """The trained network in evaluation mode; raises UserError where the loss stops being finite."""
        network = prepared(network, self.spec.exits)
        seed, label = self.seed_of(architecture), f"candidate {architecture.id}"
        return fit_network(
            network,
            architecture,
            self.spec,
            self.batches,
            seed,
            label,
            checkpoint=None,
            validation=None,
            calibration=calibration,
            norm_calibration=calibration,
            progress=progress,
        )


@dataclass(frozen=True)
class Evaluator:
    """All that scoring needs; picklable, so that a worker is given it once.

    Without `supernet` candidates start from fresh weights, without `training` they are scored as they are;
    ValueError for neither. `calibration` are batches `x_nchw` for norm statistics; `images` the splits to
    tabulate; `costs` the costs that tables hold. With `gpu` all runs on the GPU that is visible. `deterministic` as in
    `determinism.pinned`. `progress` makes the bar of a candidate's own training.
    """

    supernet: Supernet | None
    training: OwnTraining | None
    calibration: Sequence[Tensor]
    images: Mapping[str, ImageSet]
    preprocessing: Preprocessing
    criteria: tuple[str, ...]
    threads: int
    costs: CostModel = COUNTS
    gpu: bool = False
    deterministic: bool = False
    progress: MakeBar = no_bar

    def __post_init__(self) -> None:
        if self.supernet is None and self.training is None:
            raise ValueError("an evaluator must have a supernet or a training, but got neither")

    def network(self, architecture: Architecture) -> Network:
        """The architecture in evaluation mode, with the weights under which it is scored."""
        device = torch.device("cuda" if self.gpu else "cpu")
        calibration = [x_nchw.to(device) for x_nchw in self.calibration]
        if self.supernet is not None:
            network = inherit(self.supernet.to(device), architecture, calibration)
        else:
            assert self.training is not None
            network = self.training.fresh(architecture).to(device)
        if self.training is None:
            return network
        return self.training.train(network, architecture, calibration, self.progress)

    def score(self, architecture: Architecture) -> Scored:
        """Tables in fp32, with the pinned number of threads; ValueError for NaN logits, UserError for a NaN loss."""
        with pinned(self.threads, self.deterministic):
            network = self.network(architecture)
            tables = {
                name: tabulate(network, images, self.preprocessing, self.criteria, costs=self.costs)
                for name, images in self.images.items()
            }
            return Scored(tables, network.cpu() if self.training else None)


def inherit(supernet: Supernet, architecture: Architecture, calibration: Sequence[Tensor]) -> Network:
    """The architecture with the supernet's weights and recalibrated norms."""
    return supernet.extract(architecture, supernet.recalibrate(architecture, calibration))
