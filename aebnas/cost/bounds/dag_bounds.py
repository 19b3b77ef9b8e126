"""Exact bounds of a cost over a space with a DAG backbone; see `space_bounds`.

All combinations of widths are enumerated. Given the widths, cells that share their edges' genes are bounded together:
the cost of an op on an edge is then the sum over these cells, and so is that of a node, where edges are summed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from aebnas.cost.bounds.walk_costs import Best, WalkCosts
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Block, Site
from aebnas.space.branch_layers import head_layer
from aebnas.space.cell_layers import edge_layer, reduction_layer
from aebnas.space.dag import DagSpec, is_free
from aebnas.space.input_layers import input_layers, stem_layers
from aebnas.space.layer import Layer
from aebnas.space.spec import SpaceSpec


@dataclass(frozen=True)
class _Cells:
    """Cells that share their edges' genes: the best op's cost on each edge, and the cost of summing n edges."""

    edges: Mapping[tuple[int, int], float]
    sums: Callable[[int], float]


def dag_walk(spec: SpaceSpec, costs: WalkCosts, best: Best) -> tuple[float, float]:
    """(best cost of a whole network, minimum cost from the input to the output of the first exit taken)."""
    assert spec.dag is not None, "a DAG backbone has a dag"
    dag = spec.dag
    wholes, firsts = [], []
    for start, reductions, shapes in _walks(spec, dag, costs):
        groups = [range(len(shapes))] if dag.shared else [range(n, n + 1) for n in range(len(shapes))]
        cells = [_cells(dag, group, shapes, costs, best) for group in groups]
        branches = {site: costs.branch(site, shapes[site.stage]) for site in spec.sites()}
        exits = {
            s: best(0, c + costs.boost) if spec.branch(s).optional else c + costs.boost for s, c in branches.items()
        }
        head = costs.each_exit + costs.layer(head_layer(shapes[-1], spec.classes))
        ends = sum(value for site, value in exits.items() if site.block is None)
        inside = [{s.block: v for s, v in exits.items() if s.stage == g[0] and s.block is not None} for g in groups]
        passed = {s: costs.passed(s, shapes[s.stage]) for s in spec.sites() if not spec.branch(s).optional}
        total = sum(_whole(dag, some, at, best) for some, at in zip(cells, inside, strict=True))
        wholes.append(start + sum(reductions) + total + ends + head)
        for site, value in [*branches.items(), (Site(stage=len(shapes) - 1, in_cell=True), head)]:
            before = start + sum(reductions[: site.stage + 1])
            firsts.append(before + value + _min_cost_to(dag, site, shapes, cells, costs, passed))
    return best(wholes), min(firsts)


def _walks(spec: SpaceSpec, dag: DagSpec, costs: WalkCosts) -> Iterator[tuple[float, list[float], list[Shape]]]:
    """For all resolutions, stems, widths: costs up to the stem and of the block before each cell, and cells' shapes."""
    for before, reductions, shapes in dag_layers(spec, dag):
        yield (
            sum(map(costs.layer, before)),
            [0 if layer is None else costs.layer(layer) for layer in reductions],
            shapes,
        )


def dag_layers(spec: SpaceSpec, dag: DagSpec) -> Iterator[tuple[list[Layer], list[Layer | None], list[Shape]]]:
    """For all resolutions, stems, widths: layers up to the stem and before each cell (or None), and cells' shapes."""
    all_widths = product(*(stack.width for stack in dag.stacks))
    for resolution, widths in product(spec.input.resolution, all_widths):
        pixels, resizing = input_layers(spec.input, resolution)
        for stem in stem_layers(spec.stem, pixels):
            shape, reductions, shapes = stem.out_shape, [], []
            for number, stack in enumerate(dag.stack_of):
                layer = reduction_layer(number, shape, widths[stack], dag.stride_of(number))
                shape = shape if layer is None else layer.out_shape
                reductions.append(layer)
                shapes.append(shape)
            yield [*resizing, stem], reductions, shapes


def _cells(dag: DagSpec, numbers: Sequence[int], shapes: Sequence[Shape], costs: WalkCosts, best: Best) -> _Cells:
    """The best op's cost on each present edge, and the cost of sums, each summed over cells that share genes."""

    def total(pair: tuple[int, int], block: Block) -> float:
        return 0 if is_free(block) else sum(costs.layer(edge_layer(n, *pair, block, shapes[n])) for n in numbers)

    edges = {pair: best([total(pair, block) for block in dag.present]) for pair in dag.pairs}
    return _Cells(edges, lambda count: sum(costs.sums(shapes[n], count) for n in numbers))


def _whole(dag: DagSpec, cells: _Cells, exits: Mapping[int, float], best: Best) -> float:
    """Best cost of cells with their inner exits, over all sets of live nodes and of edges into each of them."""
    found = []
    for size in range(dag.nodes) if dag.may_be_absent else [dag.nodes - 1]:
        for live in combinations(range(1, dag.nodes), size):
            into = [
                [cells.edges[source, node] for source in dag.sources(node) if source in (0, *live)]
                for node in (*live, dag.nodes)
            ]
            if all(into):
                nodes = sum(_node(dag, cells, edges, best) for edges in into)
                found.append(nodes + sum(exits.get(node, 0) for node in live))
    return best(found)


def _node(dag: DagSpec, cells: _Cells, edges: Sequence[float], best: Best) -> float:
    """Best cost of the edges into a node and of their sum."""
    if not dag.may_be_absent:
        return sum(edges) + cells.sums(len(edges))
    ordered = sorted(edges, reverse=best is max)
    return best([sum(ordered[:count]) + cells.sums(count) for count in range(1, len(edges) + 1)])


def _min_cost_to(
    dag: DagSpec,
    site: Site,
    shapes: Sequence[Shape],
    cells: Sequence[_Cells],
    costs: WalkCosts,
    passed: Mapping[Site, float],
) -> float:
    """Minimum cost of edges and sums up to a site, whole cells before it included, and of the branches at required
    exits before it (`passed`)."""
    node = dag.nodes if site.block is None else site.block
    ends = sum(cost for s, cost in passed.items() if s.block is None and s.stage < site.stage)
    if dag.shared:  # sites are ends of cells
        return ends + _min_cell_cost(dag, _cells(dag, range(site.stage + 1), shapes, costs, min), node, {})
    inside = [{s.block: c for s, c in passed.items() if s.stage == cell and s.block} for cell in range(len(shapes))]
    before = sum(_min_cell_cost(dag, cells[cell], dag.nodes, inside[cell]) for cell in range(site.stage))
    earlier = {block: cost for block, cost in inside[site.stage].items() if block < node}
    return ends + before + _min_cell_cost(dag, cells[site.stage], node, earlier)


def _min_cell_cost(dag: DagSpec, cells: _Cells, node: int, earlier: Mapping[int, float]) -> float:
    """Minimum cost from a cell's input to a node: of the cheapest path, or of all paths where no edge may be absent.

    In the latter case the paths to required exits that are `earlier` run, too. `earlier` are the nodes of these exits
    and the costs of their branches, which are paid where the node is live.
    """
    if dag.may_be_absent:
        minimum = {0: 0.0}
        for target in range(1, node + 1):
            into = [source for source in dag.sources(target) if source in minimum]
            if into:
                path = min(minimum[source] + cells.edges[source, target] for source in into)
                sums = min(cells.sums(count) for count in range(1, len(into) + 1))
                minimum[target] = path + sums + earlier.get(target, 0)
        return minimum[node]
    needed = {node, *earlier}
    for target in range(node, 0, -1):
        if target in needed:
            needed.update(dag.sources(target))
    edges = sum(cells.edges[pair] for pair in dag.pairs if pair[1] in needed)
    sums = sum(cells.sums(len(dag.sources(target))) for target in needed if target)
    return edges + sums + sum(earlier.values())
