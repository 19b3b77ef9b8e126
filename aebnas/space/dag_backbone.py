"""The DAG backbone as a `Backbone`: stacks of cells."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from aebnas.core.errors import SpecError
from aebnas.runtime.op import LayerKey
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Architecture, Block, Cell, Exit, Site, Stage
from aebnas.space.backbone import Backbone
from aebnas.space.cell_layers import cell_inputs, edge_layers, is_edge, sum_key
from aebnas.space.cells import cell_genes, decode_cells, encode_cells, extreme_choice, is_edge_gene
from aebnas.space.dag import DagSpec
from aebnas.space.layer import Layer
from aebnas.space.polynomials import Ways, add, multiply


@dataclass(frozen=True)
class DagBackbone(Backbone):
    """Cells with a choice of ops for each edge; see `Backbone`."""

    dag: DagSpec

    kind = "dag"
    field = "cells"
    part_word = "cell"
    inside_word = "node"
    inside_phrase = "nodes"

    @property
    def depths(self) -> list[int]:
        return [self.dag.nodes] * len(self.dag.stack_of)

    def site(self, part: int, block: int | None) -> Site:
        return Site(stage=part, block=block, in_cell=True)

    def everywhere(self, at: str) -> tuple[Site, ...]:
        cells = range(len(self.dag.stack_of))
        if at == "every_stage":
            return tuple(self.other_names().values())
        inside = range(1, self.dag.nodes) if at == "every_node" else ()
        sites = [self.site(cell, node) for cell in cells for node in (*inside, None)]
        return tuple(sites[:-1])  # the final classifier is after the last cell

    def other_names(self) -> dict[str, Site]:
        """`stage1`, ... for the ends of stacks but the last."""
        stacks = self.dag.stack_of
        return {
            f"stage{stack + 1}": self.site(cell, None)
            for cell, (stack, behind) in enumerate(pairwise(stacks))
            if behind != stack
        }

    def check_sites(self, sites: Sequence[Site]) -> None:
        inside = [site.name for site in sites if site.block is not None]
        if self.dag.shared and len(self.dag.stack_of) > 1 and inside:
            rule = "must be ends of cells where cells are shared (an exit inside would make its cell differ)"
            raise SpecError("exits.at", f"{rule}, but got '{inside[0]}'")

    def check_widths(self, stem_widths: tuple[int, ...]) -> None:
        """`DagSpec` checks them, since edges preserve the width."""

    def widths(self, part: int) -> tuple[int, ...]:
        return self.dag.stacks[self.dag.stack_of[part]].width

    def genes(self) -> dict[str, tuple[Any, ...]]:
        return cell_genes(self.dag)

    def decode(self, choices: Mapping[str, Any], exits: Sequence[Exit]) -> Sequence[Stage | Cell]:
        return decode_cells(self.dag, choices, exits)

    def encode(self, architecture: Architecture) -> dict[str, Any]:
        return encode_cells(self.dag, architecture)

    def extreme_choice(self, gene: str, largest: bool) -> Block | None:
        return extreme_choice(self.dag, largest) if is_edge_gene(gene) else None

    def part_layers(self, part: int, maps: set[Shape]) -> tuple[set[Shape], set[Layer]]:
        layers: set[Layer] = set()
        maps_after: set[Shape] = set()
        for shape in maps:
            for inside, reduction in cell_inputs(self.dag, part, shape):
                if reduction is not None:
                    layers.add(reduction)
                layers.update(layer for edge in edge_layers(part, self.dag, inside).values() for layer in edge)
                maps_after.add(inside)
        return maps_after, layers

    def sums(self, layers: set[Layer]) -> set[LayerKey]:
        max_edges = max(len(self.dag.sources(node)) for node in range(1, self.dag.nodes + 1))
        maps = {layer.in_shape for layer in layers if is_edge(layer)}
        return {sum_key(shape, count) for shape in maps for count in range(1, max_edges + 1)}

    def ways(self, sites: Sequence[Site], exit_ways: Callable[[Site], Ways]) -> Ways:
        ways = [math.prod(len(stack.width) for stack in self.dag.stacks)]
        inside: dict[int, dict[int, Ways]] = {cell: {} for cell in range(len(self.dag.stack_of))}
        for site in sites:
            if site.block is None:
                ways = multiply(ways, exit_ways(site))
            else:
                inside[site.stage][site.block] = exit_ways(site)
        for exits in [inside[0]] if self.dag.shared else inside.values():
            ways = multiply(ways, _ways_of_a_cell(self.dag, exits))
        return ways


def _ways_of_a_cell(dag: DagSpec, exits: Mapping[int, Ways]) -> Ways:
    """Number of ways to build one cell with exits at some of its nodes, over all sets of live nodes.

    Every live node except the input has an edge from a live one, and every live node without an exit, except the last,
    has an edge to a live one; the latter is counted by inclusion and exclusion over the nodes without such an edge.
    """
    inner, total = range(1, dag.nodes), [0]
    for live in _subsets(inner) if dag.may_be_absent else [tuple(inner)]:
        branches = {node: exits[node] for node in live if node in exits}
        for leaving in _subsets(branches):
            ways = [1]
            for node, (without, with_exit) in branches.items():
                ways = multiply(ways, [0, with_exit] if node in leaving else [without])
            leads_on = [node for node in live if node not in leaving]
            total = add(total, multiply(ways, [_edge_ways(dag, {0, *live, dag.nodes}, leads_on)]))
    return total


def _edge_ways(dag: DagSpec, live: set[int], leads_on: Sequence[int]) -> int:
    """Number of ways to set edges among live nodes, with at least one into each except 0 and out of each `leads_on`."""
    ops = len(dag.present)
    if not dag.may_be_absent:
        return ops ** len(dag.pairs)
    total = 0
    for silent in _subsets(leads_on):
        into = [len([s for s in dag.sources(node) if s in live and s not in silent]) for node in live if node]
        total += (-1) ** len(silent) * math.prod((1 + ops) ** count - 1 for count in into)
    return total


def _subsets(items: Iterable[int]) -> list[tuple[int, ...]]:
    several = list(items)
    return [subset for size in range(len(several) + 1) for subset in combinations(several, size)]
