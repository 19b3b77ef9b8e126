"""Training a relaxed network: weights on `train`, and in each step alpha, controller and stop heads on `arch`."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim.swa_utils import update_bn

from aebnas.data.batches import Batches, eval_batches
from aebnas.data.image_set import ImageSet
from aebnas.policies.exit_table.tabulate import EVAL_BATCH
from aebnas.runtime.graph import Graph
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.supernet.darts.relaxed_costs import RelaxedCosts
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.training.compute.relaxed_flop import RelaxedFlop
from aebnas.training.darts.relaxed_loss import relaxed_loss, soft_exits
from aebnas.training.darts.relaxed_spec import RelaxedSpec
from aebnas.training.losses import on_device
from aebnas.training.recipes.optimisers import decoupled
from aebnas.training.task import Row

FINITE_DIFFERENCE = 0.01
"""Length of the step in the weights by which the second order's Hessian product is estimated (Liu et al. 2019)."""


class RelaxedTask:
    """The loop trains the weights; this task trains the architecture with its own optimiser, before each loop step.

    `weight` is the lambda that the cost's weight rises to; `costs` None charges exit i of E with i / E (the published
    code). `calibration` and `class_weights` as in `SandwichTask`.
    """

    def __init__(
        self,
        network: RelaxedNetwork,
        spec: RelaxedSpec,
        weight: float,
        costs: RelaxedCosts | None,
        arch: Batches | None,
        validation: ImageSet,
        preprocessing: Preprocessing,
        calibration: Sequence[Tensor],
        seed: int,
        class_weights: Tensor | None = None,
    ) -> None:
        self.module: nn.Module = network
        self.graph: Graph | None = None
        self.spec, self.weight, self.costs, self.arch, self.seed = spec, weight, costs, arch, seed
        self.validation, self.preprocessing, self.calibration = validation, preprocessing, calibration
        self.class_weights = class_weights
        if spec.validate_images is not None:
            self.validation = validation.subset(torch.arange(min(spec.validate_images, len(validation))))
        self.optimiser = torch.optim.Adam(
            network.architecture_parameters(),
            lr=spec.arch_lr,
            betas=(0.5, 0.999),
            weight_decay=spec.arch_weight_decay,
        )
        self.stateful: Mapping[str, Any] = {"arch_optimiser": self.optimiser}
        self._learn(network, weights=True)
        self._arch: Iterator[tuple[Tensor, Tensor]] = iter(())
        self.noise = torch.Generator()
        self.epoch, self.lambda_now = 0, 0.0
        self.counted = RelaxedFlop(network, spec.bilevel)

    def begin_epoch(self, epoch: int) -> None:
        """Set lambda, temperature and the order of `arch` from the epoch, so that a resumed training gives equal
        results."""
        network = self._network(self.module)
        self.epoch, self.lambda_now = epoch, self.spec.lambda_at(epoch, self.weight)
        network.temperature, network.hard = self.spec.temperature_at(epoch), self.spec.mixing == "straight_through"
        seeds = np.random.SeedSequence([self.seed, epoch]).generate_state(2)
        self.noise.manual_seed(int(seeds[0]))
        self._arch = self._endless(torch.Generator().manual_seed(int(seeds[1])))

    def begin_step(self, progress: float) -> None:
        """Nothing: lambda and temperature change from epoch to epoch."""

    def losses(self, x_nchw: Tensor, labels_n: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """A step of the architecture on `arch`, then the loss of the weights on the given batch."""
        network = self._network(self.module)
        if self.spec.bilevel == "joint":
            self._learn(network, weights=True, architecture=True)
            self.counted.ran(x_nchw)
            yield self.loss(network, x_nchw, labels_n)  # then `step` updates the architecture, the loop the weights
            return
        arch_x, arch_labels = next(self._arch)
        # small gradients underflow in fp16; the loop's gradient scaler only covers those of the weights
        kind = x_nchw.device.type
        half = torch.get_autocast_dtype(kind) == torch.float16
        with torch.autocast(kind, enabled=torch.is_autocast_enabled(kind) and not half):
            if self.spec.bilevel == "second_order":
                self._second_order(network, (x_nchw, labels_n), (arch_x, arch_labels))
            else:
                self._learn(network, architecture=True)
                loss = self.loss(network, arch_x, arch_labels)
                with torch.autocast(kind, enabled=False):
                    loss.backward()
        self._step(network)
        self._learn(network, weights=True)
        self.counted.ran(x_nchw, arch_images=len(arch_x))
        yield self.loss(network, x_nchw, labels_n)

    def flop(self) -> float:
        """See `Task.flop`; the architecture's part of the step included."""
        return self.counted.flop()

    def step(self, scaler: GradScaler) -> None:
        """For `bilevel: joint`, the architecture's step by the gradients of the weights' loss; otherwise nothing."""
        if self.spec.bilevel == "joint":
            network = self._network(self.module)
            self._step(network, scaler)
            self._learn(network, weights=True)

    def loss(self, network: RelaxedNetwork, x_nchw: Tensor, labels_n: Tensor) -> Tensor:
        """The objective on a batch under this epoch's lambda and temperature."""
        outputs, spec = network(x_nchw, self.noise), self.spec
        cost_ne = self.cost(network, outputs.mix_ngk, len(outputs.logits))
        class_weights = on_device(self.class_weights, labels_n.device)
        return relaxed_loss(
            outputs, labels_n, cost_ne, self.lambda_now, spec.aux, spec.mu, spec.label_smoothing, class_weights
        )

    def cost(self, network: RelaxedNetwork, mix_ngk: Tensor, exits: int) -> Tensor:
        """Costs C_i(x) as shares of the most expensive architecture's, `[n or 1, e]`."""
        if self.costs is None:
            return torch.linspace(1 / exits, 1.0, exits, device=mix_ngk.device)[None]
        return self.costs.expected(mix_ngk, list(network.beta))

    def validate(self, module: nn.Module) -> list[Row]:
        """Accuracy of the expected logits and of each exit, expected cost, stop probabilities."""
        network = self.finished(module, self.calibration)
        figures = soft_figures(network, self, self.validation, self.preprocessing)
        common = {"subnet": "soft", "images": len(self.validation)}
        return [common | figures | {"lambda": self.lambda_now, "temperature": network.temperature}]

    def finished(self, module: nn.Module, calibration: Sequence[Tensor]) -> RelaxedNetwork:
        """A copy in evaluation mode with norm statistics estimated on `calibration`; it mixes candidates by softmax."""
        network = copy.deepcopy(self._network(module))
        network.hard = False
        network.temperature = self.spec.temperature_at(self.epoch)
        update_bn(calibration, network)
        return network.eval()

    def _second_order(
        self,
        network: RelaxedNetwork,
        train: tuple[Tensor, Tensor],
        arch: tuple[Tensor, Tensor],
    ) -> None:
        """Gradient of the architecture at w' = w - xi * dL_train/dw, minus xi times a Hessian product (Liu et al.
        2019, eqs. 7, 8).

        L_train is the same function throughout: at every evaluation the sampled candidates have the same Gumbel noise.
        """
        weights, architecture = network.weights(), network.architecture_parameters()
        xi = decoupled(self.spec, len(train[1]))[0]
        self._learn(network, weights=True, architecture=True)
        train_noise = self.noise.get_state()
        first = torch.autograd.grad(self.loss(network, *train), weights, allow_unused=True)
        before = [weight.detach().clone() for weight in weights]
        _move(weights, first, -xi)
        ahead = self.loss(network, *arch)
        next_noise = self.noise.get_state()
        grads = torch.autograd.grad(ahead, [*architecture, *weights], allow_unused=True)
        own, towards = grads[: len(architecture)], grads[len(architecture) :]
        length = torch.sqrt(sum((g.square().sum() for g in towards if g is not None), start=ahead.new_zeros(())))
        step = FINITE_DIFFERENCE / float(length.clamp_min(1e-12))
        sides = []
        for sign in (step, -step):
            _restore(weights, before)
            _move(weights, towards, sign)
            self.noise.set_state(train_noise)
            sides.append(torch.autograd.grad(self.loss(network, *train), architecture, allow_unused=True))
        _restore(weights, before)
        self.noise.set_state(next_noise)
        for parameter, grad, plus, minus in zip(architecture, own, *sides, strict=True):
            grad = torch.zeros_like(parameter) if grad is None else grad
            if plus is not None and minus is not None:
                grad = grad - xi * (plus - minus) / (2 * step)
            parameter.grad = grad

    def _step(self, network: RelaxedNetwork, scaler: GradScaler | None = None) -> None:
        """One step of Adam by gradients that `scaler` scaled, if it is given; they are cleared afterwards, so the
        loop's optimiser doesn't update these parameters."""
        scaler = scaler or GradScaler(network.alpha_gk.device.type, enabled=False)
        scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(network.architecture_parameters(), self.spec.clip)
        scaler.step(self.optimiser)
        self.optimiser.zero_grad(set_to_none=True)

    @staticmethod
    def _learn(network: RelaxedNetwork, weights: bool = False, architecture: bool = False) -> None:
        """Set which parameters receive gradients."""
        for parameter in network.weights():
            parameter.requires_grad_(weights)
        for parameter in network.architecture_parameters():
            parameter.requires_grad_(architecture)

    @staticmethod
    def _network(module: nn.Module) -> RelaxedNetwork:
        assert isinstance(module, RelaxedNetwork)
        return module

    def _endless(self, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        while self.arch is not None:
            yield from self.arch.epoch(order, device=next(self.module.parameters()).device)


def _move(parameters: Sequence[Tensor], directions: Sequence[Tensor | None], length: float) -> None:
    with torch.no_grad():
        for parameter, direction in zip(parameters, directions, strict=True):
            if direction is not None:
                parameter.add_(direction, alpha=length)


def _restore(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


@torch.no_grad()
def soft_figures(
    network: RelaxedNetwork, task: RelaxedTask, images: ImageSet, preprocessing: Preprocessing
) -> dict[str, float]:
    """The soft network on images: accuracies (top 1 and 5), expected cost as a share, stop probabilities."""
    right = torch.zeros(2 + len(network.sites) + 1)
    cost, stops = 0.0, torch.zeros(len(network.sites))
    device = network.alpha_gk.device
    for x_nchw, labels_n in eval_batches(images, preprocessing, EVAL_BATCH, device):
        outputs = network(x_nchw)
        soft = soft_exits(outputs, task.cost(network, outputs.mix_ngk, len(outputs.logits)))
        best_nk = soft.logits_nc.topk(min(5, soft.logits_nc.shape[1])).indices
        hits = [best_nk[:, 0] == labels_n, (best_nk == labels_n[:, None]).any(1)]
        hits += [exit_nc.argmax(-1) == labels_n for exit_nc in outputs.logits]
        right += torch.stack([hit.sum() for hit in hits]).cpu()
        cost += float(soft.cost_n.expand(len(labels_n)).sum())
        stops += outputs.stop_logits_nk.sigmoid().sum(0).cpu()
    shares = (right / len(images)).tolist()
    figures = {"accuracy": shares[0], "top5_accuracy": shares[1], "expected_cost": cost / len(images)}
    figures |= {f"exit{number}_accuracy": share for number, share in enumerate(shares[2:], start=1)}
    return figures | {f"stop{number}": float(s) / len(images) for number, s in enumerate(stops, start=1)}
