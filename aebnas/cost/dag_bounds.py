"""Exact bounds of a cost over a space with a DAG backbone; see `bounds`.

Widths are walked through. Given them, cells that choose their edges together are bounded together: the cost of an op
on an edge is then the sum over these cells.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product

from aebnas.runtime.shapes import Shape
from aebnas.space.architecture import Block
from aebnas.space.dag import DagSpec, is_free
from aebnas.space.layers import (
    Layer,
    edge_layer,
    head_layer,
    input_layers,
    reduction_layer,
    stem_layers,
)
from aebnas.space.spec import Site, SpaceSpec

Cost = Callable[[Layer], float]
BranchCost = Callable[[Site, Shape], float]
EdgeCosts = Mapping[tuple[int, int], float]


def dag_walk(
    spec: SpaceSpec, dag: DagSpec, cost: Cost, branch: BranchCost, best: Callable[..., float]
) -> tuple[float, float]:
    """(best cost of a whole network, least cost from the input to the answer of the first exit taken).

    `cost` is that of a layer, `branch` the best of the branches at a site on maps of a shape. Sums of edges are charged
    nothing.
    """
    wholes, firsts = [], []
    for start, reductions, shapes in _walks(spec, dag, cost):
        groups = [range(len(shapes))] if dag.shared else [range(n, n + 1) for n in range(len(shapes))]
        edges = [_edge_costs(dag, group, shapes, cost, best) for group in groups]
        branches = {site: branch(site, shapes[site.stage]) for site in spec.sites()}
        exits = {s: best(0, c) if spec.branch(s).optional else c for s, c in branches.items()}
        head = cost(head_layer(shapes[-1], spec.classes))
        ends = sum(value for site, value in exits.items() if site.block is None)
        inside = [{s.block: v for s, v in exits.items() if s.stage == g[0] and s.block is not None} for g in groups]
        cells = sum(_whole(dag, costs, at, best) for costs, at in zip(edges, inside, strict=True))
        wholes.append(start + sum(reductions) + cells + ends + head)
        for site, value in [*branches.items(), (Site(stage=len(shapes) - 1, in_cell=True), head)]:
            before = start + sum(reductions[: site.stage + 1])
            firsts.append(before + value + _way_to(spec, dag, site, shapes, edges, cost))
    return best(wholes), min(firsts)


def _walks(spec: SpaceSpec, dag: DagSpec, cost: Cost) -> Iterator[tuple[float, list[float], list[Shape]]]:
    """For all resolutions, stems, widths: the cost up to the stem, of the block before each cell, and cells' maps."""
    for resolution, *widths in product(spec.input.resolution, *(stack.width for stack in dag.stacks)):
        pictures, resizing = input_layers(spec.input, resolution)
        for stem in stem_layers(spec, pictures):
            shape, reductions, shapes = stem.out_shape, [], []
            for number, stack in enumerate(dag.stack_of):
                layer = reduction_layer(number, shape, widths[stack], dag.stride_of(number))
                shape = shape if layer is None else layer.out_shape
                reductions.append(0 if layer is None else cost(layer))
                shapes.append(shape)
            yield sum(map(cost, resizing)) + cost(stem), reductions, shapes


def _edge_costs(
    dag: DagSpec, cells: Sequence[int], shapes: Sequence[Shape], cost: Cost, best: Callable[..., float]
) -> EdgeCosts:
    """The best op's cost of each edge that is there, summed over cells that have it together."""

    def total(pair: tuple[int, int], block: Block) -> float:
        return 0 if is_free(block) else sum(cost(edge_layer(cell, *pair, block, shapes[cell])) for cell in cells)

    return {pair: best([total(pair, block) for block in dag.present]) for pair in dag.pairs}


def _whole(dag: DagSpec, edges: EdgeCosts, exits: Mapping[int, float], best: Callable[..., float]) -> float:
    """Of a cell with its exits inside: the best over all sets of live nodes, or over all edges."""
    if best is max or not dag.may_be_absent:
        return sum(edges.values()) + sum(exits.values())
    found = []
    for size in range(dag.nodes):
        for live in combinations(range(1, dag.nodes), size):
            into = [
                [edges[source, node] for source in dag.sources(node) if source in (0, *live)]
                for node in (*live, dag.nodes)
            ]
            if all(into):
                found.append(sum(map(min, into)) + sum(exits.get(node, 0) for node in live))
    return min(found)


def _way_to(
    spec: SpaceSpec, dag: DagSpec, site: Site, shapes: Sequence[Shape], edges: Sequence[EdgeCosts], cost: Cost
) -> float:
    """The least that edges cost up to a site, behind whole cells."""
    node = dag.nodes if site.block is None else site.block
    if dag.shared:  # sites are ends of cells
        together = _edge_costs(dag, range(site.stage + 1), shapes, cost, min)
        return _way(dag, together, node, ())
    must = [
        [s.block for s in spec.sites() if s.stage == cell and s.block and not spec.branch(s).optional]
        for cell in range(len(shapes))
    ]
    before = sum(_way(dag, edges[cell], dag.nodes, must[cell]) for cell in range(site.stage))
    earlier = [block for block in must[site.stage] if block < node]
    return before + _way(dag, edges[site.stage], node, earlier)


def _way(dag: DagSpec, edges: EdgeCosts, node: int, earlier: Sequence[int]) -> float:
    """From a cell's input to a node: the shortest, or where no edge may be absent all that leads there.

    Exits that must be there and lie `earlier` then run what leads to them, too.
    """
    if dag.may_be_absent:
        least = {0: 0.0}
        for target in range(1, node + 1):
            ways = [least[source] + edges[source, target] for source in dag.sources(target) if source in least]
            if ways:
                least[target] = min(ways)
        return least[node]
    wanted = {node, *earlier}
    for target in range(node, 0, -1):
        if target in wanted:
            wanted.update(dag.sources(target))
    return sum(edges[source, target] for source, target in dag.pairs if target in wanted)
