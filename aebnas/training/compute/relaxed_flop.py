"""FLOP of the training steps of a relaxed network."""

import copy
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.training.compute.layer_flop import module_flop

Bilevel = Literal["first_order", "second_order", "joint"]


class RelaxedFlop:
    """Counts the steps of a relaxed network: `ran` is called for each.

    All candidates run for every image, so that each step on images of one size costs the same.
    """

    def __init__(self, network: RelaxedNetwork, bilevel: Bilevel) -> None:
        self.network, self.bilevel = network, bilevel
        self._step: tuple[tuple[int, ...], int] | None = None  # shape of the batch, images of the architecture's batch
        self._known: dict[tuple[tuple[int, ...], bool, bool], int] = {}

    def ran(self, x_nchw: Tensor, arch_images: int = 0) -> None:
        """A step of the weights on `x_nchw`, and one of the architecture on `arch_images` others of the same size."""
        self._step = tuple(x_nchw.shape), arch_images

    def flop(self) -> float:
        """FLOP of the last step; 0 before the first."""
        if self._step is None:
            return 0.0
        (images, *sides), arch_images = self._step
        shape = tuple(sides)
        if self.bilevel == "joint":
            return float(images * self.per_image(shape, weights=True, architecture=True))
        weights, architecture = self.per_image(shape, weights=True), self.per_image(shape, architecture=True)
        if self.bilevel == "first_order":
            return float(images * weights + arch_images * architecture)
        # the unrolled step, the gradients of both after it, and the two sides of the Hessian product
        both = self.per_image(shape, weights=True, architecture=True)
        return float(images * (2 * weights + 2 * architecture) + arch_images * both)

    def forward(self, batches: Iterable[Tensor]) -> float:
        """FLOP of forward passes on batches `x_nchw`."""
        return float(sum(len(x_nchw) * self.per_image(tuple(x_nchw.shape[1:])) for x_nchw in batches))

    def per_image(self, shape: tuple[int, ...], weights: bool = False, architecture: bool = False) -> int:
        """FLOP of a forward pass for one image, and of the gradients of the weights, the architecture, or both."""
        key = shape, weights, architecture
        if key not in self._known:
            network = copy.deepcopy(self.network)
            for parameters, trains in ((network.weights(), weights), (network.architecture_parameters(), architecture)):
                for parameter in parameters:
                    parameter.requires_grad_(trains)
            self._known[key] = module_flop(network, shape, torch.Generator())
        return self._known[key]
