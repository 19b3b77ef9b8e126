"""Lowering: Architecture -> Graph.

Node names say the place (`stage2_block1`, `exit_stage1_layer1`), so a network's weights keep their names when
exits come and go. Weights keys add the op, since ops don't share weights with each other; the classifier of a
branch is shared only among branches of equal depth, since it reads features of another kind otherwise.
"""

from functools import lru_cache

from aebnas.runtime.graph import INPUT, Attr, Graph, GraphExit, Node
from aebnas.runtime.ops import OPS
from aebnas.space.architecture import Architecture, Exit
from aebnas.space.spec import Site, branch_channels


@lru_cache(maxsize=4096)
def lower(architecture: Architecture) -> Graph:
    """The Graph of an architecture; raises ValueError when a layer cannot run on its map."""
    stem = architecture.stem
    builder = _Builder(architecture.channels, architecture.resolution)
    at = builder.add("stem", "conv", INPUT, out_channels=stem.width, kernel=stem.kernel, stride=stem.stride)
    exits = []
    for number, stage in enumerate(architecture.stages):
        for index, block in enumerate(stage.blocks):
            attrs: dict[str, Attr] = {
                "out_channels": stage.width,
                "kernel": block.kernel,
                "stride": stage.stride if index == 0 else 1,
            }
            if block.expand is not None:
                attrs["expand"] = block.expand
            name = f"stage{number + 1}_block{index + 1}"
            at = builder.add(name, block.op, at, weights=f"{name}_{block.op}", **attrs)
            behind = None if index == len(stage.blocks) - 1 else index + 1
            exits += [
                _add_branch(builder, e, at, architecture.classes)
                for e in architecture.exits
                if (e.stage, e.block) == (number, behind)
            ]
    head = builder.add("head", "classifier", at, classes=architecture.classes)
    exits.append(GraphExit(at, head))
    if len(exits) != len(architecture.exits) + 1:
        raise ValueError("every exit must sit behind a block that is there")
    return Graph(builder.input_shape, tuple(builder.nodes), tuple(exits))


class _Builder:
    """Appends nodes and keeps track of output shapes."""

    def __init__(self, channels: int, resolution: int) -> None:
        self.input_shape = (channels, resolution, resolution)
        self.shapes = {INPUT: self.input_shape}
        self.nodes: list[Node] = []

    def add(self, name: str, op: str, at: str, weights: str = "", **attrs: Attr) -> str:
        if OPS[op].sees_channels:
            attrs["in_channels"] = self.shapes[at][0]
        try:
            self.shapes[name] = OPS[op].out_shape([self.shapes[at]], **attrs)
        except ValueError as error:
            raise ValueError(f"{name.replace('_', '.')}: {error}") from None
        self.nodes.append(Node.make(name, op, (at,), weights, **attrs))
        return name


def branch_stride(side: int) -> int:
    """Stride of a branch layer on a map of this side: 2 (AEBNAS) until little is left to halve."""
    return 2 if side >= 4 else 1


def _add_branch(builder: _Builder, present: Exit, site: str, classes: int) -> GraphExit:
    place = "exit_" + Site(stage=present.stage, block=present.block).name.replace(".", "_")
    at = site
    for number, layer in enumerate(present.layers, start=1):
        attrs: dict[str, Attr] = {
            "kernel": layer.kernel,
            "stride": branch_stride(min(builder.shapes[at][1:])),
        }
        if layer.width is not None:
            attrs["out_channels"] = branch_channels(builder.shapes[site][0], layer.width)
        name = f"{place}_layer{number}"
        at = builder.add(name, layer.op, at, weights=f"{name}_{layer.op}", **attrs)
    weights = f"{place}_head_depth{len(present.layers)}"
    return GraphExit(site, builder.add(f"{place}_head", "classifier", at, weights=weights, classes=classes))
