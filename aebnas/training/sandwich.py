"""Supernet training by the sandwich rule with in-place distillation (Yu & Huang 2019; BigNAS, Yu et al. 2020)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from aebnas.data.image_set import ImageSet
from aebnas.policies.exit_table.tabulate import tabulate
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.supernet.supernet import Supernet
from aebnas.training.compute.graph_flop import path_flop
from aebnas.training.exits.exit_weights import exit_weights, mask_inactive
from aebnas.training.losses import multi_exit_loss, on_device, probabilities, self_distillation_loss
from aebnas.training.task import Row
from aebnas.training.training_spec import SupernetSpec
from aebnas.training.validation import REFERENCE_CRITERION, exit_rows


class SandwichTask:
    """Each step trains the largest backbone, the smallest, and random ones, each with several sets of branches.

    The largest backbone's last exit is the teacher of all other exits of the step. `calibration` are the batches
    (`x_nchw`) on which norm statistics are estimated at validation; `class_weights` `[c]` are those of the loss.
    """

    def __init__(
        self,
        supernet: Supernet,
        space: SearchSpace,
        spec: SupernetSpec,
        validation: ImageSet,
        preprocessing: Preprocessing,
        calibration: Sequence[Tensor],
        class_weights: Tensor | None = None,
    ) -> None:
        self.stateful: Mapping[str, Any] = {}
        self.module: nn.Module = supernet
        self.space, self.spec = space, spec
        self.validation, self.preprocessing, self.calibration = validation, preprocessing, calibration
        self.class_weights = class_weights
        self.synced = spec.workers > 1 and spec.sync_norms
        self.largest, self.smallest = space.extreme(largest=True), space.extreme(largest=False)
        self.epoch = 0
        self._ran: tuple[tuple[int, ...], list[list[Architecture]]] = (0, 0, 0, 0), []

    def begin_epoch(self, epoch: int) -> None:
        """Record the epoch, which determines the exits that train."""
        self.epoch = epoch

    def losses(self, x_nchw: Tensor, labels_n: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """One loss per backbone path: the mean over its branch sets."""
        paths = self._paths(rng)
        self._ran = tuple(x_nchw.shape), paths
        teacher_nc: Tensor | None = None
        for architectures in paths:
            outputs = self.module.forward_many(  # type: ignore[operator]
                x_nchw, architectures, synced=self.synced
            )
            yield self._path_loss(architectures, outputs, labels_n, teacher_nc) / len(paths)
            if teacher_nc is None:
                teacher_nc = probabilities(outputs[0][-1])

    def _path_loss(
        self,
        architectures: list[Architecture],
        outputs: list[list[Tensor]],
        labels_n: Tensor,
        teacher_nc: Tensor | None,
    ) -> Tensor:
        """Mean loss over a path's branch sets; without a teacher (the first path) its own last exit is the teacher."""
        total = torch.zeros((), device=labels_n.device)
        class_weights = on_device(self.class_weights, labels_n.device)
        for architecture, logits in zip(architectures, outputs, strict=True):
            weights = exit_weights(self.spec.exit_weights, architecture)
            weights = mask_inactive(weights, self.spec.exits.active(self.epoch, len(weights)))
            smoothing, share = self.spec.label_smoothing, self.spec.distillation
            if teacher_nc is None:
                loss = self_distillation_loss(logits, labels_n, weights, smoothing, share, class_weights)
            else:
                loss = multi_exit_loss(logits, labels_n, weights, smoothing, teacher_nc, share, class_weights)
            total = total + loss / len(architectures)
        return total

    def _paths(self, rng: np.random.Generator) -> list[list[Architecture]]:
        """Backbone paths of one step, the teacher's first, each as architectures that differ only in branches."""
        randoms = [self.space.decode(self.space.sample(rng)).architecture for _ in range(self.spec.random_subnets)]
        paths = [
            [self.space.sample_branches(backbone, rng) for _ in range(self.spec.branches)]
            for backbone in (self.largest, self.smallest, *randoms)
        ]
        paths[0][0] = self.largest
        return paths

    def flop(self) -> float:
        """See `Task.flop`: each backbone path once, with all of its branch sets."""
        (images, *chw), paths = self._ran
        channels, height, width = chw
        return images * sum(path_flop(architectures, (channels, height, width)) for architectures in paths)

    def step(self, scaler: GradScaler) -> None:
        """Nothing: the loop steps all parameters."""

    def validate(self, module: nn.Module) -> list[Row]:
        """Rows of the largest subnet, and of the smallest backbone under one fixed set of branches."""
        assert isinstance(module, Supernet)
        rng = np.random.default_rng(0)
        validated = {"largest": self.largest, "smallest": self.space.sample_branches(self.smallest, rng)}
        rows = []
        for name, architecture in validated.items():
            network = module.extract(architecture, module.recalibrate(architecture, self.calibration))
            table = tabulate(network, self.validation, self.preprocessing, [REFERENCE_CRITERION])
            rows.append({"subnet": name} | exit_rows(table))
        return rows
