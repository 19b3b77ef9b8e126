"""Lowering: Architecture -> Graph.

Node names state the site (`stage2_block1`, `cell1_edge0_2`, `exit_stage1_layer1`, in a chain
`exit_stage1_layer1_conv`), so a network's weights keep their names when exits come and go; weights keys are those of
`space/layers`. Sums of logits in boosted networks are `exit_stage2_boost` and, at the last exit, `boost`.
"""

from collections.abc import Mapping
from functools import lru_cache

from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.op import Attr
from aebnas.runtime.ops import BOOST
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Architecture, Cell, Edge, Exit, Stage
from aebnas.space.branch_layers import branch_chain, branch_head, branch_place, head_layer
from aebnas.space.cell_layers import edge_layer, edge_name, reduction_layer
from aebnas.space.dag import is_free
from aebnas.space.input_layers import CONTROLLER, controller_layers, resize_layer, stem_layer
from aebnas.space.layer import Layer
from aebnas.space.stage_layers import block_layer
from aebnas.space.stop_heads import with_stop_heads


@lru_cache(maxsize=4096)
def lower(architecture: Architecture) -> Graph:
    """The Graph of an architecture; raises ValueError when a layer cannot run on its map."""
    builder = _Builder(architecture.image_shape, architecture)
    if architecture.image_size not in (None, architecture.resolution):
        builder.add("resize", resize_layer(builder.shape, architecture.resolution))
    builder.add("stem", stem_layer(architecture.stem, builder.shape))
    if architecture.controller:
        _add_controller(builder)
    for number, stage in enumerate(architecture.stages):
        _add_stage(builder, number, stage)
    for number, cell in enumerate(architecture.cells):
        _add_cell(builder, number, cell)
    site, head = builder.at, head_layer(builder.shape, architecture.classes, architecture.boosted)
    exits = [*builder.exits, GraphExit(site, builder.add_logits("head", head))]
    if len(exits) != len(architecture.exits) + 1:
        raise ValueError(f"every exit must be at a site that exists, but got {architecture}")
    graph = Graph(builder.input_shape, tuple(builder.nodes), tuple(exits))
    return with_stop_heads(graph) if architecture.stop_heads else graph


class _Builder:
    """Appends nodes; `at` is the last node of the path and `shape` its output shape."""

    def __init__(self, input_shape: Shape, architecture: Architecture) -> None:
        self.input_shape = self.shape = input_shape
        self.architecture = architecture
        self.at = INPUT
        self.nodes: list[Node] = []
        self.exits: list[GraphExit] = []
        self.choices = 0  # number of candidates of all choice nodes so far

    def add(self, name: str, layer: Layer) -> str:
        """Add a layer after `at`."""
        self.nodes.append(Node(name, layer.op, (self.at,), layer.attrs, layer.weights))
        self.at, self.shape = name, layer.out_shape
        return name

    def add_logits(self, name: str, head: Layer) -> str:
        """Add a classifier after `at` and, in a boosted network, its sum with the logits of the exit before."""
        own = self.add(name, head)
        if not (self.architecture.boosted and self.exits):
            return own
        sums = f"{name.removesuffix('head')}{BOOST}"
        self.nodes.append(Node.make(sums, BOOST, (own, self.exits[-1].output)))
        return sums

    def add_exits(self, stage: int, block: int | None) -> None:
        """Add the exit of the site just reached, if there is one."""
        self.exits += [_add_branch(self, e) for e in self.architecture.exits if (e.stage, e.block) == (stage, block)]


def _add_controller(builder: _Builder) -> None:
    """Add the controller, whose input is the image and whose output is Delta alpha; it isn't on the backbone's path."""
    at, shape = builder.at, builder.shape
    sizes = [len(e.ops) for cell in builder.architecture.cells for e in cell.edges if len(e.ops) > 1]
    builder.at, builder.shape = INPUT, builder.input_shape
    for layer in controller_layers(builder.input_shape, builder.architecture.controller, sum(sizes)):
        builder.add(layer.weights, layer)
    builder.at, builder.shape = at, shape


def _add_stage(builder: _Builder, number: int, stage: Stage) -> None:
    for index, block in enumerate(stage.blocks):
        layer = block_layer(number, index, block, builder.shape, stage.width, stage.stride)
        builder.add(f"stage{number + 1}_block{index + 1}", layer)
        builder.add_exits(number, None if index == len(stage.blocks) - 1 else index + 1)


def _add_cell(builder: _Builder, number: int, cell: Cell) -> None:
    """Add the cell's reduction layer, then for each node its edges, their sum, and the exit there."""
    reduction = reduction_layer(number, builder.shape, cell.width, cell.stride)
    if reduction is not None:
        builder.add(f"cell{number + 1}_reduce", reduction)
    values, shape = {0: builder.at}, builder.shape
    for target in range(1, cell.nodes + 1):
        ends = [_add_edge(builder, number, edge, values, shape) for edge in cell.edges if edge.target == target]
        if ends:
            values[target] = builder.at = f"cell{number + 1}_node{target}"
            builder.nodes.append(Node.make(builder.at, "add", tuple(ends)))
            builder.shape = shape
            builder.add_exits(number, None if target == cell.nodes else target)


def _add_edge(builder: _Builder, number: int, edge: Edge, values: Mapping[int, str], shape: Shape) -> str:
    """Add an edge; returns the name of the node whose output it adds to its target."""
    if len(edge.ops) > 1:
        return _add_choice(builder, number, edge, values[edge.source], shape)
    block = edge.ops[0]
    if is_free(block):
        return values[edge.source]
    builder.at, builder.shape = values[edge.source], shape
    return builder.add(
        edge_name(number, edge.source, edge.target), edge_layer(number, edge.source, edge.target, block, shape)
    )


def _add_choice(builder: _Builder, number: int, edge: Edge, source: str, shape: Shape) -> str:
    """Add an edge with several candidates, one of which the controller selects for each sample."""
    name = edge_name(number, edge.source, edge.target)
    ops = tuple(
        (block.op, () if is_free(block) else edge_layer(number, edge.source, edge.target, block, shape).attrs)
        for block in edge.ops
    )
    attrs: dict[str, Attr] = {"ops": ops, "start": builder.choices}
    builder.nodes.append(Node.make(name, "choice", (source, CONTROLLER), f"{name}_choice", **attrs))
    builder.choices += len(ops)
    return name


def _add_branch(builder: _Builder, present: Exit) -> GraphExit:
    """Add a branch at the node just reached, and return there."""
    site, shape, classes = builder.at, builder.shape, builder.architecture.classes
    where = present.site
    for index, layer in enumerate(present.layers):
        chain = branch_chain(where, index, layer, builder.shape, shape[0])
        for part in chain:
            builder.add(part.weights if len(chain) > 1 else f"{branch_place(where)}_layer{index + 1}", part)
    boosted = builder.architecture.boosted
    head = branch_head(where, len(present.layers), present.pool, builder.shape, classes, boosted)
    output = builder.add_logits(f"{branch_place(where)}_head", head)
    builder.at, builder.shape = site, shape
    return GraphExit(site, output)
