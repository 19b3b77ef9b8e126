"""Training of one architecture as a plain Network."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from aebnas.data.augment import Preprocessing
from aebnas.data.images import ImageSet
from aebnas.nn.elastic import initialise
from aebnas.policy.tabulate import tabulate
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.lower import lower
from aebnas.train.config import TrainSpec
from aebnas.train.losses import exit_weights, self_taught_loss
from aebnas.train.task import Row
from aebnas.train.validation import REFERENCE_CRITERION, exit_rows


class SingleTask:
    """All exits jointly; the last exit teaches the earlier ones. `calibration` as in `SandwichTask`.

    Without `validation` nothing is looked at in between.
    """

    def __init__(
        self,
        network: Network,
        architecture: Architecture,
        spec: TrainSpec,
        validation: ImageSet | None,
        preprocessing: Preprocessing,
        calibration: Sequence[Tensor],
    ) -> None:
        self.module: nn.Module = network
        self.spec = spec
        self.weights = exit_weights(spec.exit_weights, architecture)
        self.validation, self.preprocessing, self.calibration = validation, preprocessing, calibration

    def losses(self, x_nchw: Tensor, labels_n: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """A single loss over all exits."""
        spec = self.spec
        logits = self.module(x_nchw)
        yield self_taught_loss(logits, labels_n, self.weights, spec.label_smoothing, spec.distillation)

    def validate(self, module: nn.Module) -> list[Row]:
        """One row of the network."""
        if self.validation is None:
            return []
        network = with_norm_stats(module, self.calibration)
        table = tabulate(network, self.validation, self.preprocessing, [REFERENCE_CRITERION])
        return [{"subnet": "chosen"} | exit_rows(table)]


def fresh_network(architecture: Architecture, seed: int) -> Network:
    """The architecture with newly drawn weights."""
    network = Network(lower(architecture))
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def with_norm_stats(module: nn.Module, calibration: Sequence[Tensor]) -> Network:
    """A copy in evaluation mode whose norm statistics fit its (averaged) weights."""
    network = copy.deepcopy(module)
    assert isinstance(network, Network)
    update_bn(calibration, network)
    return network.eval()
