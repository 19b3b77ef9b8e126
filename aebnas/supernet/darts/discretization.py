"""From a relaxed network to networks that run one op per edge: static (by alpha only) or selected for each image.

Legend: n samples, g edges, k candidates.
"""

from collections.abc import Callable, Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from aebnas.runtime.choice import Choice
from aebnas.runtime.choice_rules import FREE, ZERO
from aebnas.runtime.network import Network
from aebnas.runtime.ops import BOOST
from aebnas.space.architecture import Architecture, Block, Cell, Edge, Exit, Stem
from aebnas.space.cells import connected, live_edges
from aebnas.space.input_layers import CONTROLLER
from aebnas.space.lowering import lower
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork

Form = Literal["static", "adaptive"]


def static_architecture(network: RelaxedNetwork, inputs: int) -> Architecture:
    """The argmax of alpha on every edge; of the edges into a node the `inputs` strongest that aren't `zero` remain.

    An edge's strength is the maximum weight of its candidates other than `zero` (Liu et al. 2019).
    """
    p_gk = network.alpha_gk.detach().softmax(-1).cpu()
    blocks = network.dag.blocks
    strength_gk = p_gk.clone()
    strength_gk[:, [block.op == ZERO for block in blocks]] = -1.0
    selected_g, strength_g = p_gk.argmax(-1).tolist(), strength_gk.amax(-1).tolist()

    def edges(cell: int) -> list[Edge]:
        remaining: list[Edge] = []
        for node in range(1, network.dag.nodes + 1):
            rows = {n: network.group(cell, n) for n, (_, target) in enumerate(network.dag.pairs) if target == node}
            present = [n for n, row in rows.items() if blocks[selected_g[row]].op != ZERO]
            present = sorted(present, key=lambda n: -strength_g[rows[n]])[:inputs]
            for n in sorted(present):
                source, target = network.dag.pairs[n]
                remaining.append(Edge(source=source, target=target, ops=(blocks[selected_g[rows[n]]],)))
        return remaining

    return _architecture(network, edges, controller=0)


def adaptive_architecture(network: RelaxedNetwork, share_gk: Tensor, min_share: float) -> Architecture:
    """Every edge with the candidates selected for at least `min_share` of images, and always the most frequent one.

    `share_gk` is the result of `choice_shares`.
    """
    blocks = network.dag.blocks
    remaining_gk = (share_gk >= min_share) | (share_gk == share_gk.amax(-1, keepdim=True)) & (share_gk > 0)

    def edges(cell: int) -> list[Edge]:
        found = []
        for n, (source, target) in enumerate(network.dag.pairs):
            ops = tuple(
                b
                for b, remaining in zip(blocks, remaining_gk[network.group(cell, n)].tolist(), strict=True)
                if remaining
            )
            if any(block.op != ZERO for block in ops):
                found.append(Edge(source=source, target=target, ops=ops))
        return found

    return _architecture(network, edges, network.controller_width)


@torch.no_grad()
def choice_shares(network: RelaxedNetwork, batches: Iterable[Tensor]) -> Tensor:
    """Shares of images for which each candidate is the argmax of alpha'(x), `[g, k]`; `batches` are `x_nchw`."""
    counts_gk, samples = torch.zeros(network.alpha_gk.shape), 0
    for x_nchw in batches:
        delta_ngk = network.delta(x_nchw.to(network.alpha_gk.device))
        alpha_ngk = network.alpha_gk[None] if delta_ngk is None else network.alpha_gk + delta_ngk
        selected_ng = alpha_ngk.argmax(-1).expand(len(x_nchw), -1).cpu()
        counts_gk += nn.functional.one_hot(selected_ng, counts_gk.shape[1]).sum(0)
        samples += len(x_nchw)
    return counts_gk / max(1, samples)


@torch.no_grad()
def extract(relaxed: RelaxedNetwork, architecture: Architecture) -> Network:
    """`architecture` (from one of the functions above) with the relaxed network's weights, in evaluation mode."""
    network = Network(lower(architecture))
    graph = network.graph
    for name, module in relaxed.before.items():
        _copy(network.nodes[name], module)
    for cell_number, module in relaxed.reduce.items():
        _copy(network.nodes[f"cell{int(cell_number) + 1}_reduce"], module)
    for cell, part in enumerate(architecture.cells):
        for edge in part.edges:
            _copy_edge(relaxed, network, cell, edge)
    _copy(network.nodes["head"], relaxed.head)
    by_site = {site: number for number, site in enumerate(relaxed.sites)}
    for present, graph_exit, segment in zip(architecture.exits, graph.exits, graph.segments(), strict=False):
        number = by_site[present.site]
        branch = [node.name for node in segment.branch if node.name != graph_exit.stop and node.op != BOOST]
        parts = cast(nn.Sequential, cast(nn.ModuleList, relaxed.exits[number])[_best(relaxed, number)])
        for name, module in zip(branch, parts, strict=True):
            _copy(network.nodes[name], module)
        if graph_exit.stop:
            _copy(network.nodes[graph_exit.stop], relaxed.stops[number])
    if architecture.controller:
        _copy_controller(relaxed, network, architecture)
    return network.to(relaxed.alpha_gk.device).eval()


def _architecture(network: RelaxedNetwork, edges_of: Callable[[int], list[Edge]], controller: int) -> Architecture:
    """The architecture of these edges, with the most probable branch at every exit whose node has an input."""
    spec, dag = network.spec, network.dag
    sites = [(number, site) for number, site in enumerate(network.sites)]
    cells = []
    for number, stack in enumerate(dag.stack_of):
        ends = {site.block for _, site in sites if site.stage == number and site.block is not None}
        edges = live_edges(connected(dag, edges_of(number)), {*ends, dag.nodes})
        cells.append(
            Cell(width=dag.stacks[stack].width[0], stride=dag.stride_of(number), nodes=dag.nodes, edges=tuple(edges))
        )
    exits = []
    for number, site in sites:
        if cells[site.stage].has_site(site.block):
            branch = network.branches[number][_best(network, number)]
            exits.append(Exit(**site.model_dump(), layers=branch.layers, pool=branch.pool))
    stem, resolution = spec.stem, spec.input.resolution[0]
    adaptive = any(len(edge.ops) > 1 for cell in cells for edge in cell.edges)
    return Architecture(
        channels=spec.input.channels,
        resolution=resolution,
        image_size=spec.input.image_size_for(resolution),
        classes=spec.classes,
        stem=Stem(width=stem.width[0], kernel=stem.kernel, stride=stem.stride, act=stem.act[0]),
        cells=tuple(cells),
        exits=tuple(exits),
        controller=controller if adaptive else 0,
        stop_heads=bool(network.stops) and bool(exits),
        boosted=network.boosted and bool(exits),
    )


def _best(network: RelaxedNetwork, number: int) -> int:
    return int(network.beta[number].argmax())


def _copy_edge(relaxed: RelaxedNetwork, network: Network, cell: int, edge: Edge) -> None:
    name, modules = f"cell{cell + 1}_edge{edge.source}_{edge.target}", _candidates(relaxed, cell, edge)
    if len(edge.ops) > 1:
        choice = network.nodes[name]
        assert isinstance(choice, Choice)
        rows, group = [relaxed.dag.blocks.index(block) for block in edge.ops], _group(relaxed, cell, edge)
        choice.alpha.copy_(relaxed.alpha_gk[group, rows])
        for index, block in enumerate(edge.ops):
            if block.op not in FREE:
                _copy(choice.ops[index], modules[block])
    elif edge.ops[0].op not in FREE:
        _copy(network.nodes[name], modules[edge.ops[0]])


def _candidates(relaxed: RelaxedNetwork, cell: int, edge: Edge) -> dict[Block, nn.Module]:
    number = relaxed.dag.pairs.index((edge.source, edge.target))
    several = cast(nn.ModuleList, cast(nn.ModuleList, relaxed.edges[cell])[number])
    return dict(zip(relaxed.dag.blocks, several, strict=True))


def _group(relaxed: RelaxedNetwork, cell: int, edge: Edge) -> int:
    return relaxed.group(cell, relaxed.dag.pairs.index((edge.source, edge.target)))


def _copy_controller(relaxed: RelaxedNetwork, network: Network, architecture: Architecture) -> None:
    """Copy the controller with only the outputs whose candidates remain."""
    *before, last = relaxed.controller.items()
    for name, module in before:
        _copy(network.nodes[name], module)
    candidates = len(relaxed.dag.blocks)
    rows = [
        _group(relaxed, cell, edge) * candidates + relaxed.dag.blocks.index(block)
        for cell, part in enumerate(architecture.cells)
        for edge in part.edges
        if len(edge.ops) > 1
        for block in edge.ops
    ]
    for name, parameter in network.nodes[CONTROLLER].named_parameters():
        parameter.copy_(last[1].get_parameter(name)[rows])


def _copy(target: nn.Module, source: nn.Module) -> None:
    target.load_state_dict(source.state_dict())
