"""Training of one architecture as a plain Network."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from aebnas.cost.counts import count_graph
from aebnas.data.image_set import ImageSet
from aebnas.data.on_device import to_device
from aebnas.policies.exit_table.tabulate import tabulate
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.supernet.elastic import initialise
from aebnas.training.compiled import outputs_of
from aebnas.training.compute.network_flop import NetworkFlop
from aebnas.training.exits.exit_losses import Blended, expected_cost, halting_loss, reach_weights, soft_stops
from aebnas.training.exits.exit_weights import exit_weights, mask_inactive
from aebnas.training.exits.frozen_backbone import backbone_to_eval, branch_nodes, freeze_backbone
from aebnas.training.exits.gradient_rescaling import rescale_gradients
from aebnas.training.losses import label_loss, on_device, self_distillation_loss
from aebnas.training.norm_statistics import estimate_norms, estimate_norms_of
from aebnas.training.task import Row
from aebnas.training.training_spec import TrainSpec
from aebnas.training.validation import REFERENCE_CRITERION, exit_rows

Stage = Literal["joint", "backbone", "branches"]


class SingleTask:
    """All exits, as `spec.exits` specifies; the network is its own teacher.

    `calibration` and `class_weights` as in `SandwichTask`. Of a two-stage training, the stage `backbone` trains only
    the last exit and `branches` only the branches of the early ones. Without `validation` images the training is not
    validated.
    """

    def __init__(
        self,
        network: Network,
        architecture: Architecture,
        spec: TrainSpec,
        validation: ImageSet | None,
        preprocessing: Preprocessing,
        calibration: Sequence[Tensor],
        class_weights: Tensor | None = None,
        stage: Stage = "joint",
    ) -> None:
        self.stateful: Mapping[str, Any] = {}
        self.module: nn.Module = Blended(network) if spec.exits.blended else network
        self.spec, self.stage, self.class_weights = spec, stage, class_weights
        self.graph: Graph | None = network.graph
        self.weights = self.all_weights = exit_weights(spec.exit_weights, architecture)
        self.validation, self.preprocessing, self.calibration = validation, preprocessing, calibration
        costs_e = count_graph(network.graph).macs.to_exit()
        self.counted = NetworkFlop(network, spec.exits.stop_heads and not spec.exits.blended)
        self.cost_share_e = torch.tensor(costs_e / costs_e[-1], dtype=torch.float32)
        if stage == "branches":
            freeze_backbone(network)
        self._outputs = outputs_of(network, spec)
        self.begin_step(0.0)

    def begin_epoch(self, epoch: int) -> None:
        """Keep a frozen backbone's norm statistics unchanged."""
        if self.stage == "branches":
            backbone_to_eval(self._network(self.module))

    def begin_step(self, progress: float) -> None:
        """Set which exits train."""
        count = len(self.all_weights)
        last_only = (False,) * (count - 1) + (True,)
        self.active = last_only if self.stage == "backbone" else self.spec.exits.active(progress, count)
        self.weights = mask_inactive(self.all_weights, self.active)

    def losses(self, x_nchw: Tensor, labels_n: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """A single loss over all exits."""
        spec, exits = self.spec, self.spec.exits
        class_weights = on_device(self.class_weights, labels_n.device)
        if isinstance(self.module, Blended):
            self.counted.ran(x_nchw)
            blended_nc = self.module.blend(self.module(x_nchw))
            yield label_loss(blended_nc, labels_n, spec.label_smoothing, class_weights)
            return
        outputs = self._outputs(x_nchw, self.active)
        self.counted.ran(x_nchw, outputs.chosen, self.active)
        weights = [weight for weight, on in zip(self.weights, self.active, strict=True) if on]
        if exits.reach_weights and self.stage == "branches":
            weights = reach_weights(outputs.logits, exits.policy_threshold)
        loss = self_distillation_loss(
            outputs.logits,
            labels_n,
            weights,
            spec.label_smoothing,
            spec.distillation,
            class_weights,
            spec.distil_from,
        )
        if not all(self.active):  # what depends on the policy takes part once all exits do
            yield loss
            return
        cost_share_e = to_device(self.cost_share_e, loss.device)
        if exits.stop_heads and outputs.stop_logits:
            stop_ne = torch.stack([logit_n.float() for logit_n in outputs.stop_logits], 1).sigmoid()
            loss = loss + halting_loss(outputs.logits, stop_ne, labels_n, class_weights)
            loss = loss + exits.policy_loss * expected_cost(stop_ne, cost_share_e)
        elif exits.policy_loss:
            stop_ne = soft_stops(outputs.logits, exits.policy_threshold, exits.policy_temperature)
            loss = loss + exits.policy_loss * expected_cost(stop_ne, cost_share_e)
        yield loss

    def flop(self) -> float:
        """See `Task.flop`."""
        return self.counted.flop()

    def step(self, scaler: GradScaler) -> None:
        """Rescale the backbone's gradients where the recipe says so."""
        if self.spec.exits.gradient_rescaling and self.stage == "joint":
            rescale_gradients(self._network(self.module), self.weights)

    def validate(self, module: nn.Module) -> list[Row]:
        """One row for the network; none without validation images."""
        if self.validation is None:
            return []
        network = self.finished(module, self.calibration)
        table = tabulate(network, self.validation, self.preprocessing, [REFERENCE_CRITERION])
        return [{"subnet": "chosen"} | exit_rows(table)]

    def finished(self, module: nn.Module, calibration: Sequence[Tensor]) -> Network:
        """The network of a (trained) module: a copy in evaluation mode with norm statistics estimated on `calibration`.

        Those of a frozen backbone are unchanged.
        """
        if self.stage != "branches":
            return with_norm_stats(self._network(module), calibration)
        network = copy.deepcopy(self._network(module))
        estimate_norms_of(network, branch_nodes(network), calibration)
        return network

    @staticmethod
    def _network(module: nn.Module) -> Network:
        network = module.network if isinstance(module, Blended) else module
        assert isinstance(network, Network)
        return network


def fresh_network(architecture: Architecture, seed: int) -> Network:
    """The architecture with weights initialised from the seed."""
    network = Network(lower(architecture))
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def with_norm_stats(module: nn.Module, calibration: Sequence[Tensor]) -> Network:
    """A copy in evaluation mode with norm statistics estimated on batches `x_nchw` for its (averaged) weights."""
    network = copy.deepcopy(module)
    assert isinstance(network, Network)
    return estimate_norms(network, calibration)
