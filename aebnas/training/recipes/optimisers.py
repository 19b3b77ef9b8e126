"""The optimisers of a training and their learning rates."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from aebnas.training.recipes.muon import Muon
from aebnas.training.recipes.presets import DECOUPLED_BATCH
from aebnas.training.recipes.schedules import SCHEDULES
from aebnas.training.training_spec import LoopSpec


def decoupled(spec: LoopSpec, batch_size: int) -> tuple[float, float]:
    """torch's learning rate and weight decay for SGD from the decoupled ones.

    As published (Jordan 2024), so that published rates can be used: the distance moved in an epoch doesn't depend on
    the batch size, and little on the momentum (not at all with 1 / (1 - momentum) instead of 1 + 1 / (1 - momentum)).
    """
    scale = batch_size / (DECOUPLED_BATCH * (1 + 1 / (1 - spec.momentum)))
    return spec.lr * scale, spec.weight_decay / spec.lr


class Optimisers:
    """SGD, and Muon for filters where the recipe says so; all follow one schedule.

    Weights have weight decay, norms and biases have none.
    """

    def __init__(self, module: nn.Module, spec: LoopSpec, batch_size: int) -> None:
        self.spec = spec
        lr, weight_decay = decoupled(spec, batch_size)
        filters, weights, norm_biases, others = [], [], [], []
        for name, parameter in module.named_parameters():
            # the filters of a depthwise convolution work on a channel each, so they aren't the rows of a matrix
            if spec.optimiser == "muon" and parameter.ndim > 2 and parameter.shape[1] > 1:
                filters.append(parameter)
            elif parameter.ndim > 1:
                weights.append(parameter)
            elif spec.norm_bias_lr != 1 and name in _norm_biases(module):
                norm_biases.append(parameter)
            else:
                others.append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": weight_decay, "lr": lr},
            {"params": others, "weight_decay": 0.0, "lr": lr},
            {"params": norm_biases, "weight_decay": 0.0, "lr": lr * spec.norm_bias_lr},
        ]
        groups = [group for group in groups if group["params"]]
        self.optimisers: list[torch.optim.Optimizer] = []
        if groups:
            self.optimisers.append(torch.optim.SGD(groups, momentum=spec.momentum, nesterov=spec.momentum > 0))
        if filters:
            self.optimisers.append(Muon(filters, spec.muon_lr, spec.muon_momentum))
        for group in self._groups():
            group["peak_lr"] = group["lr"]
        self.parameters: list[Tensor] = [p for group in self._groups() for p in group["params"]]
        self.lr = lr

    def set_progress(self, progress: float) -> None:
        """Set the learning rates for a share of the training in [0, 1]."""
        factor = SCHEDULES[self.spec.schedule](progress, self.spec.warmup)
        for group in self._groups():
            group["lr"] = group["peak_lr"] * factor
        self.lr = self._groups()[0]["lr"]

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)

    def step(self, scaler: GradScaler, clip: float) -> None:
        """One step by gradients that `scaler` scaled, clipped to a norm of `clip`."""
        for optimiser in self.optimisers:
            scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(self.parameters, clip, foreach=True)
        for optimiser in self.optimisers:
            scaler.step(optimiser)
        scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The states of all optimisers."""
        return {"optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the states of all optimisers."""
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]


def _norm_biases(module: nn.Module) -> set[str]:
    """Names of the biases of norms: those beside a weight of one dimension."""
    shapes = {name: parameter.ndim for name, parameter in module.named_parameters()}
    biases = {name for name in shapes if name.endswith("bias")}
    return {name for name in biases if shapes.get(name.removesuffix("bias") + "weight") == 1}
