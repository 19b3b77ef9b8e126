"""The Supernet: one set of weights for a whole space, without state of its own.

It has no active sub-network and no running statistics: the architecture and the norm statistics
are arguments, so workers and threads don't interfere.

Legend: n samples, c classes.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import update_bn

from aebnas.runtime.graph import INPUT, Node
from aebnas.runtime.network import Network
from aebnas.runtime.op import Attrs
from aebnas.runtime.ops import OPS
from aebnas.space.architecture import Architecture
from aebnas.space.layers import space_layers
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.elastic import initialise, parameter_shapes, shared_shapes, slice_to
from aebnas.supernet.synced_norm import SyncedNorm

NormStats = Mapping[str, Tensor]
"""Batch-norm statistics of one architecture, by the buffer names of its `Network`."""


class Supernet(nn.Module):
    """Shared weights over depth, width, kernel, expansion, op and exit branches of a space.

    `generator` draws the initial weights.
    """

    def __init__(self, spec: SpaceSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.shared = nn.ParameterDict()
        for weights, shapes in shared_shapes(space_layers(spec)).items():
            for name, shape in shapes.items():
                self.shared[_key(weights, name)] = nn.Parameter(torch.empty(shape))
        initialise(self, generator)

    def forward(self, x_nchw: Tensor, architecture: Architecture, norm_stats: NormStats | None = None) -> list[Tensor]:
        """Logits `[n, c]` of every exit. Without `norm_stats` batch norm uses the batch's own (training)."""
        return self.forward_many(x_nchw, [architecture], norm_stats)[0]

    def forward_many(
        self,
        x_nchw: Tensor,
        architectures: Sequence[Architecture],
        norm_stats: NormStats | None = None,
        synced: bool = False,
        active: Sequence[tuple[bool, ...]] | None = None,
        gradient_factors: Mapping[str, float] | None = None,
    ) -> list[list[Tensor]]:
        """`forward` for several architectures, running nodes that they have in common only once.

        So branches of one backbone path share its forward (and backward) pass. `norm_stats`, if given, are
        those of a single architecture; without them batch norm uses the batch's own statistics, or those over
        the batches of all ranks (see `synced_norm`) if `synced`. With `active`, one bool for each exit of each
        architecture, only those exits run and are returned. `gradient_factors` multiply the gradients of the weights
        that nodes, by name, receive. Raises ValueError for `norm_stats` with several architectures.
        """
        if norm_stats is not None and len(architectures) != 1:
            raise ValueError(f"norm_stats must be given for one architecture only, but got {len(architectures)}")
        values: list[Tensor] = [x_nchw]
        place_of: dict[tuple[str, Attrs, tuple[int, ...]], int] = {}
        logits = []
        factors = gradient_factors or {}
        for index, architecture in enumerate(architectures):
            graph = lower(architecture)
            exits = graph.exits if active is None else tuple(compress(graph.exits, active[index]))
            place = {INPUT: 0}
            for node in graph.nodes_for(exits):
                key = (node.weights, node.attrs, tuple(place[name] for name in node.inputs))
                if key not in place_of:
                    inputs = [values[at] for at in key[2]]
                    values.append(self._run(node, inputs, norm_stats, synced, factors.get(node.name, 1.0)))
                    place_of[key] = len(values) - 1
                place[node.name] = place_of[key]
            logits.append([values[place[graph_exit.output]] for graph_exit in exits])
        return logits

    def _run(
        self, node: Node, inputs: list[Tensor], norm_stats: NormStats | None, synced: bool, factor: float
    ) -> Tensor:
        template = _template(node.op, node.attrs, norm_stats is None, synced, threading.get_ident())
        tensors: dict[str, Any] = dict(self._sliced(node))
        if factor != 1:
            tensors = {name: _ScaledGradient.apply(tensor, factor) for name, tensor in tensors.items()}
        if norm_stats is not None:
            tensors |= {name: norm_stats[f"nodes.{node.name}.{name}"] for name, _ in template.named_buffers()}
        return functional_call(template, tensors, tuple(inputs))

    def _sliced(self, node: Node) -> dict[str, Tensor]:
        return {
            name: slice_to(self.shared[_key(node.weights, name)], shape)
            for name, shape in parameter_shapes(node.op, node.attrs).items()
        }

    @torch.no_grad()
    def _subnet(self, architecture: Architecture) -> Network:
        """A Network with copies of this architecture's slices and initial norm statistics."""
        with torch.device("meta"):  # no weights are drawn, since all are overwritten below
            network = Network(lower(architecture))
        network.to_empty(device=next(self.parameters()).device)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
        for node in network.graph.nodes:
            for name, parameter in network.nodes[node.name].named_parameters():
                parameter.copy_(slice_to(self.shared[_key(node.weights, name)], tuple(parameter.shape)))
        return network

    def recalibrate(self, architecture: Architecture, batches: Iterable[Tensor]) -> NormStats:
        """Norm statistics of this architecture: the mean over `batches` (each `x_nchw`) of the batch statistics.

        Without batches they are mean 0 and variance 1.
        """
        network = self._subnet(architecture)
        update_bn(batches, network, device=next(self.parameters()).device)
        return dict(network.named_buffers())

    def extract(self, architecture: Architecture, norm_stats: NormStats) -> Network:
        """A plain Network in evaluation mode with outputs equal to `forward(x, architecture, norm_stats)`.

        Raises ValueError for norm statistics of another architecture.
        """
        network = self._subnet(architecture)
        buffers = dict(network.named_buffers())
        if set(buffers) != set(norm_stats):
            raise ValueError("norm_stats must be of this architecture, but got those of another")
        for name, buffer in buffers.items():
            buffer.copy_(norm_stats[name])
        return network.eval()


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def _key(weights: str, parameter: str) -> str:
    return f"{weights}/{parameter}".replace(".", "/")


@lru_cache(maxsize=65536)
def _template(op: str, attrs: Attrs, training: bool, synced: bool, thread: int) -> nn.Module:
    """A module without weights (on `meta`), which is called with slices as its parameters.

    Each thread has its own, since `functional_call` puts the slices into the module while it runs.
    """
    with torch.device("meta"):
        module = OPS[op].build(**dict(attrs))
        if training:
            kind = SyncedNorm if synced else nn.BatchNorm2d
            for name, norm in list(module.named_modules()):
                if isinstance(norm, nn.BatchNorm2d):
                    module.set_submodule(name, kind(norm.num_features, norm.eps, track_running_stats=False))
    return module.train(training)
