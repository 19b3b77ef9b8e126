"""Lowering: Architecture -> Graph.

Node names say the place (`stage2_block1`, `exit_stage1_layer1`, in a chain `exit_stage1_layer1_conv`), so a
network's weights keep their names when exits come and go; weights keys are those of `space/layers`.
"""

from functools import lru_cache

from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.shapes import Shape
from aebnas.space.architecture import Architecture, Exit
from aebnas.space.layers import (
    Layer,
    block_layer,
    branch_chain,
    branch_head,
    branch_place,
    head_layer,
    resize_layer,
    stem_layer,
)
from aebnas.space.spec import Site


@lru_cache(maxsize=4096)
def lower(architecture: Architecture) -> Graph:
    """The Graph of an architecture; raises ValueError when a layer cannot run on its map."""
    builder = _Builder((architecture.channels, architecture.side, architecture.side))
    if architecture.resolution != architecture.side:
        builder.add("resize", resize_layer(builder.shape, architecture.resolution))
    builder.add("stem", stem_layer(architecture.stem, builder.shape))
    exits = []
    for number, stage in enumerate(architecture.stages):
        for index, block in enumerate(stage.blocks):
            layer = block_layer(number, index, block, builder.shape, stage.width, stage.stride)
            builder.add(f"stage{number + 1}_block{index + 1}", layer)
            behind = None if index == len(stage.blocks) - 1 else index + 1
            exits += [
                _add_branch(builder, e, architecture.classes)
                for e in architecture.exits
                if (e.stage, e.block) == (number, behind)
            ]
    site = builder.at
    exits.append(GraphExit(site, builder.add("head", head_layer(builder.shape, architecture.classes))))
    if len(exits) != len(architecture.exits) + 1:
        raise ValueError("every exit must sit behind a block that is there")
    return Graph(builder.input_shape, tuple(builder.nodes), tuple(exits))


class _Builder:
    """Appends nodes to a path; `at` is the node it has come to and `shape` that node's output shape."""

    def __init__(self, input_shape: Shape) -> None:
        self.input_shape = self.shape = input_shape
        self.at = INPUT
        self.nodes: list[Node] = []

    def add(self, name: str, layer: Layer) -> str:
        self.nodes.append(Node(name, layer.op, (self.at,), layer.attrs, layer.weights))
        self.at, self.shape = name, layer.out_shape
        return name


def _add_branch(builder: _Builder, present: Exit, classes: int) -> GraphExit:
    """Lay a branch at the place come to, and come back there."""
    site, shape = builder.at, builder.shape
    place = Site(stage=present.stage, block=present.block)
    for index, layer in enumerate(present.layers):
        chain = branch_chain(place, index, layer, builder.shape, shape[0])
        for part in chain:
            builder.add(part.weights if len(chain) > 1 else f"{branch_place(place)}_layer{index + 1}", part)
    head = branch_head(place, len(present.layers), present.pool, builder.shape, classes)
    output = builder.add(f"{branch_place(place)}_head", head)
    builder.at, builder.shape = site, shape
    return GraphExit(site, output)
