"""The relaxed network of input-adaptive DARTS: every candidate of every edge and exit at once, softly mixed.

Notation of Liu et al. 2019 and of the input-adaptive form: alpha'(x) = alpha + Delta alpha(x) with a controller
Delta alpha = g_theta(x); p_k(x) = softmax_k(alpha'(x) / T); h_i = sum_{j<i} sum_k p_k o_k(h_j); exits y_i = f_i(h_i),
a softmax mixture of branch candidates; causal stop heads s_i = sigma(u_i(h_i)), which depend on h_i only.

Legend: n samples, e exits, c classes, g edges (of all cells, or of the one that all share), k candidates, b branches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aebnas.runtime.choice_rules import IDENTITY, ZERO
from aebnas.runtime.ops import OPS
from aebnas.runtime.shape_rules import Shape
from aebnas.runtime.simple_layers import Boost
from aebnas.space.architecture import BranchLayer, Site, Stem
from aebnas.space.branch_layers import branch_chain, branch_head, head_layer
from aebnas.space.cell_layers import edge_layer, reduction_layer
from aebnas.space.choices import branch_layers
from aebnas.space.dag import DagSpec, is_free
from aebnas.space.input_layers import controller_layers, input_layers, stem_layer
from aebnas.space.layer import Layer, make_layer
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.elastic import initialise


@dataclass(frozen=True)
class Branch:
    """A branch candidate of an exit: its fields in an architecture, and its layers, the classifier last."""

    layers: tuple[BranchLayer, ...]
    pool: str
    parts: tuple[Layer, ...]


class RelaxedOutputs(NamedTuple):
    """The relaxed network's outputs for n samples, and the mixing weights.

    `logits` of every exit `[n, c]`; `stop_logits_nk` of the early exits; `delta_ngk` is Delta alpha (None without a
    controller); `mix_ngk` are the weights of candidates (n is 1 where they are the same for all samples).
    """

    logits: list[Tensor]
    stop_logits_nk: Tensor
    delta_ngk: Tensor | None
    mix_ngk: Tensor


class RelaxedNetwork(nn.Module):
    """All candidates of a DAG space with one resolution and one width everywhere.

    `alpha_gk` are the global logits, `beta` those of the branch candidates of each exit. `temperature` and `hard` (a
    straight-through Gumbel sample instead of the softmax, Jang et al. 2017) determine how candidates are mixed. The
    controller's last layer is initialised to zero, and with it Delta alpha. `controller` is its width (0: there is
    none). Without `stop_heads` no sample stops early. Where the space's exits are boosted, each exit adds half of the
    logits of the exit before it.
    """

    def __init__(self, spec: SpaceSpec, controller: int, stop_heads: bool, generator: torch.Generator) -> None:
        super().__init__()
        assert spec.dag is not None, "a relaxed network needs a DAG, as the plan checks"
        self.spec, self.dag = spec, spec.dag
        self.sites: tuple[Site, ...] = spec.sites()
        shape, resizing = input_layers(spec.input, spec.input.resolution[0])
        stem = stem_layer(
            Stem(width=spec.stem.width[0], kernel=spec.stem.kernel, stride=spec.stem.stride, act=spec.stem.act[0]),
            shape,
        )
        self.before = nn.ModuleDict({layer.weights: _module(layer) for layer in (*resizing, stem)})
        self.stem_layers: list[Layer] = [*resizing, stem]
        self.shapes, self.reductions = _cell_shapes(self.dag, stem.out_shape)
        self.reduce = nn.ModuleDict({str(n): _module(layer) for n, layer in enumerate(self.reductions) if layer})
        self.edge_layers = [
            [
                [None if is_free(block) else edge_layer(n, *pair, block, shape) for block in self.dag.blocks]
                for pair in self.dag.pairs
            ]
            for n, shape in enumerate(self.shapes)
        ]
        self.edges = nn.ModuleList(
            nn.ModuleList(
                nn.ModuleList(nn.Identity() if layer is None else _module(layer) for layer in candidates)
                for candidates in cell
            )
            for cell in self.edge_layers
        )
        self.branches = [_branches(spec, site, self.shapes[site.stage]) for site in self.sites]
        self.exits = nn.ModuleList(
            nn.ModuleList(nn.Sequential(*map(_module, branch.parts)) for branch in several) for several in self.branches
        )
        self.stop_layers = (
            [
                make_layer(f"stop{n}", "classifier", self.shapes[site.stage], classes=1)
                for n, site in enumerate(self.sites)
            ]
            if stop_heads
            else []
        )
        self.stops = nn.ModuleList(map(_module, self.stop_layers))
        self.head_layer = head_layer(self.shapes[-1], spec.classes)
        self.head = _module(self.head_layer)
        self.boosted = spec.exits.boosted == (True,)
        self.boost = Boost()
        groups = len(self.dag.pairs) * (1 if self.dag.shared else len(self.shapes))
        self.controller_width = controller
        self.controller_layers = (
            controller_layers(spec.input.shape, controller, groups * len(self.dag.blocks)) if controller else []
        )
        self.controller = nn.ModuleDict({layer.weights: _module(layer) for layer in self.controller_layers})
        self.alpha_gk = nn.Parameter(torch.zeros(groups, len(self.dag.blocks)))
        self.beta = nn.ParameterList(torch.zeros(len(several)) for several in self.branches)
        initialise(self, generator)
        with torch.no_grad():
            for parameter in (self.alpha_gk, *self.beta):
                parameter.copy_(1e-3 * torch.randn(parameter.shape, generator=generator))
            if controller:
                for parameter in list(self.controller.values())[-1].parameters():
                    parameter.zero_()
        self.temperature, self.hard = 1.0, False

    def architecture_parameters(self) -> list[nn.Parameter]:
        """alpha, beta, theta and stop heads: the parameters trained on `arch`; all others are weights."""
        return [self.alpha_gk, *self.beta, *self.controller.parameters(), *self.stops.parameters()]

    def weights(self) -> list[nn.Parameter]:
        """All other parameters, trained on `train`."""
        others = {id(parameter) for parameter in self.architecture_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in others]

    def forward(self, x_nchw: Tensor, generator: torch.Generator | None = None) -> RelaxedOutputs:
        """Outputs of all exits for `x_nchw`; `generator` draws the Gumbel noise where `hard` is set."""
        delta_ngk = self.delta(x_nchw)
        alpha_ngk = self.alpha_gk[None] if delta_ngk is None else self.alpha_gk + delta_ngk
        mix_ngk = self.mixture(alpha_ngk, generator)
        h_nchw = x_nchw
        for module in self.before.values():
            h_nchw = module(h_nchw)
        at_site: dict[tuple[int, int], Tensor] = {}
        for cell in range(len(self.shapes)):
            if str(cell) in self.reduce:
                h_nchw = self.reduce[str(cell)](h_nchw)
            nodes = self._cell(cell, h_nchw, mix_ngk)
            at_site |= {(cell, node): value for node, value in nodes.items()}
            h_nchw = nodes[self.dag.nodes]
        features = [at_site[site.stage, site.block or self.dag.nodes] for site in self.sites]
        logits = [*(self._exit(index, feature) for index, feature in enumerate(features)), self.head(h_nchw)]
        if self.boosted:
            for index in range(1, len(logits)):
                logits[index] = self.boost(logits[index], logits[index - 1])
        stops = [stop(feature)[:, 0].float() for stop, feature in zip(self.stops, features, strict=False)]
        never_nk = x_nchw.new_full((len(x_nchw), len(features)), -torch.inf, dtype=torch.float32)
        stop_logits_nk = torch.stack(stops, 1) if stops else never_nk
        return RelaxedOutputs(logits, stop_logits_nk, delta_ngk, mix_ngk)

    def delta(self, x_nchw: Tensor) -> Tensor | None:
        """Delta alpha(x), fp32 `[n, g, k]`; None without a controller."""
        if not self.controller:
            return None
        value = x_nchw
        for module in self.controller.values():
            value = module(value)
        return value.float().view(len(x_nchw), *self.alpha_gk.shape)

    def mixture(self, alpha_ngk: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Weights of the candidates, like `alpha_ngk`: softmax, or if `hard` in the forward pass one-hot samples."""
        if not self.hard:
            return (alpha_ngk / self.temperature).softmax(-1)
        noise_ngk = torch.empty(alpha_ngk.shape).exponential_(generator=generator).to(alpha_ngk.device)
        soft_ngk = ((alpha_ngk - noise_ngk.clamp_min(1e-20).log()) / self.temperature).softmax(-1)
        hard_ngk = F.one_hot(soft_ngk.argmax(-1), soft_ngk.shape[-1]).to(soft_ngk.dtype)
        return hard_ngk + soft_ngk - soft_ngk.detach()

    def group(self, cell: int, edge: int) -> int:
        """Row of `alpha_gk` of an edge of a cell."""
        return edge if self.dag.shared else cell * len(self.dag.pairs) + edge

    def _cell(self, cell: int, h_nchw: Tensor, mix_ngk: Tensor) -> dict[int, Tensor]:
        nodes = {0: h_nchw}
        for edge, (source, target) in enumerate(self.dag.pairs):
            mixed = self._edge(cell, edge, nodes[source], mix_ngk[:, self.group(cell, edge)])
            if mixed is not None:
                nodes[target] = mixed if target not in nodes else nodes[target] + mixed
            elif target not in nodes:
                nodes[target] = torch.zeros_like(h_nchw)
        return nodes

    def _edge(self, cell: int, edge: int, h_nchw: Tensor, mix_nk: Tensor) -> Tensor | None:
        """sum_k p_k o_k(h); `zero` adds nothing."""
        total: Tensor | None = None
        for index, block in enumerate(self.dag.blocks):
            if block.op == ZERO:
                continue
            out_nchw = h_nchw if block.op == IDENTITY else self.edges[cell][edge][index](h_nchw)  # type: ignore[index]
            part = mix_nk[:, index, None, None, None].to(out_nchw.dtype) * out_nchw
            total = part if total is None else total + part
        return total

    def _exit(self, index: int, h_nchw: Tensor) -> Tensor:
        """sum_b softmax(beta)_b f_b(h), `[n, c]`."""
        weight_b = self.beta[index].softmax(0)
        branches: Sequence[nn.Module] = self.exits[index]  # type: ignore[assignment]
        if len(branches) == 1:
            return branches[0](h_nchw)
        outputs = torch.stack([branch(h_nchw).float() for branch in branches])
        return torch.einsum("b,bnc->nc", weight_b, outputs)


def _module(layer: Layer) -> nn.Module:
    return OPS[layer.op].build(**dict(layer.attrs))


def _cell_shapes(dag: DagSpec, shape: Shape) -> tuple[list[Shape], list[Layer | None]]:
    """The shape of the maps in each cell, and the reduction layer before it (None without one)."""
    shapes, reductions = [], []
    for number, stack in enumerate(dag.stack_of):
        layer = reduction_layer(number, shape, dag.stacks[stack].width[0], dag.stride_of(number))
        shape = shape if layer is None else layer.out_shape
        shapes.append(shape)
        reductions.append(layer)
    return shapes, reductions


def _branches(spec: SpaceSpec, site: Site, shape: Shape) -> list[Branch]:
    """Every branch that can be attached at a site."""
    choices, found = spec.branch(site), []
    growing: list[tuple[tuple[BranchLayer, ...], tuple[Layer, ...], Shape]] = [((), (), shape)]
    for depth in range(max(choices.depth) + 1):
        if depth in choices.depth:
            found += [
                Branch(layers, pool, (*parts, branch_head(site, depth, pool, at, spec.classes)))
                for layers, parts, at in growing
                for pool in choices.pool
            ]
        steps = [
            (
                (*layers, layer),
                (*parts, *(chain := branch_chain(site, depth, layer, at, shape[0]))),
                chain[-1].out_shape,
            )
            for layers, parts, at in growing
            for layer in branch_layers(choices)
        ]
        growing = steps if depth < max(choices.depth) else []
    return found
