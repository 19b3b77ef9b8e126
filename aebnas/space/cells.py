"""Encoding and decoding of the cells of a DAG backbone, and which of their edges are live.

An edge from a node that isn't reached from the cell's input, or to one from which neither the cell's output nor a
present exit is reached, is dead: it is omitted, so that equal networks have equal ids.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aebnas.runtime.choice_rules import ZERO
from aebnas.space.architecture import Architecture, Cell, Edge, Exit, reached
from aebnas.space.dag import DagSpec


def edge_gene(dag: DagSpec, cell: int, source: int, target: int) -> str:
    """Name of the gene that selects an edge's op; cells share it if `dag.shared`."""
    return f"cell{'' if dag.shared else cell + 1}.edge{source}_{target}"


def is_edge_gene(name: str) -> bool:
    """Whether a gene selects an edge's op."""
    return ".edge" in name


def cell_genes(dag: DagSpec) -> dict[str, tuple[Any, ...]]:
    """The genes of all cells: the width of each stack, and the op of each edge."""
    genes: dict[str, tuple[Any, ...]] = {}
    for cell, stack in enumerate(dag.stack_of):
        genes[f"stack{stack + 1}.width"] = dag.stacks[stack].width
        genes |= {edge_gene(dag, cell, source, target): dag.blocks for source, target in dag.pairs}
    return genes


def decode_cells(dag: DagSpec, choices: Mapping[str, Any], exits: Sequence[Exit]) -> tuple[Cell, ...]:
    """The cells that genes select, given the exits that are present (ignoring those at nodes that aren't reached)."""
    cells = []
    for cell, stack in enumerate(dag.stack_of):
        edges = [
            Edge(source=source, target=target, ops=(choices[edge_gene(dag, cell, source, target)],))
            for source, target in dag.pairs
        ]
        present_edges = connected(dag, [edge for edge in edges if edge.ops[0].op != ZERO])
        ends = {present.block for present in exits if present.stage == cell and present.block is not None}
        cells.append(
            Cell(
                width=choices[f"stack{stack + 1}.width"],
                stride=dag.stride_of(cell),
                nodes=dag.nodes,
                edges=tuple(live_edges(present_edges, {*ends, dag.nodes})),
            )
        )
    return tuple(cells)


def connected(dag: DagSpec, edges: Sequence[Edge]) -> list[Edge]:
    """The edges, with others added where the cell's output would not be reached.

    Each added edge begins at the earliest possible node and has the first op that isn't `zero`.
    """
    edges, node = list(edges), dag.nodes
    while node not in reached(edges):
        source = next((s for s in dag.sources(node) if s in reached(edges)), dag.sources(node)[0])
        edges = [edge for edge in edges if (edge.source, edge.target) != (source, node)]
        edges.append(Edge(source=source, target=node, ops=dag.present[:1]))
        edges.sort(key=lambda edge: (edge.target, edge.source))
        node = dag.nodes if node in reached(edges) else source
    return edges


def live_edges(edges: Sequence[Edge], ends: Collection[int]) -> list[Edge]:
    """The edges on a path from the cell's input to one of the nodes `ends`."""
    nodes = reached(edges)
    from_input = [edge for edge in edges if edge.source in nodes]
    needed = {node for node in ends if node in nodes}
    for edge in sorted(from_input, key=lambda edge: -edge.target):
        if edge.target in needed:
            needed.add(edge.source)
    return [edge for edge in from_input if edge.target in needed]


def encode_cells(dag: DagSpec, architecture: Architecture) -> dict[str, Any]:
    """Values of the genes of an architecture's cells; raises ValueError for another number of cells."""
    if len(architecture.cells) != len(dag.stack_of):
        raise ValueError("the candidate is not of this space")
    choices: dict[str, Any] = {}
    zero = [block for block in dag.blocks if block.op == ZERO]
    for number, cell in enumerate(architecture.cells):
        choices[f"stack{dag.stack_of[number] + 1}.width"] = cell.width
        ops = {(edge.source, edge.target): edge.ops[0] for edge in cell.edges}
        for pair in dag.pairs:
            if pair in ops or zero:
                choices[edge_gene(dag, number, *pair)] = ops[pair] if pair in ops else zero[0]
    return choices


def extreme_choice(dag: DagSpec, largest: bool) -> Any:
    """The block that is the largest (smallest) choice of an edge.

    The largest is the first op with weights at its largest kernel and expansion; the smallest is `zero` where it is a
    choice, else the first op at its smallest kernel and expansion.
    """
    if not largest and dag.may_be_absent:
        return next(block for block in dag.blocks if block.op == ZERO)

    def size(block: Any) -> tuple[float, float, bool]:
        return block.kernel or 0, block.expand or 0, block.se

    weighted = [block for block in dag.present if block.op not in WEIGHTLESS] or list(dag.present)
    same = [block for block in dag.present if block.op == (weighted if largest else dag.present)[0].op]
    return max(same, key=size) if largest else min(same, key=size)


WEIGHTLESS = ("identity", "maxpool", "avgpool")
