"""The layers of cells: the block before a cell, and its edges."""

from aebnas.runtime.op import LayerKey
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Block
from aebnas.space.dag import REDUCTION_KERNEL, DagSpec, is_free
from aebnas.space.layer import Layer, make_layer, yaml_place


def reduction_layer(number: int, shape: Shape, width: int, stride: int) -> Layer | None:
    """The residual block before cell `number` (from 0); None where neither width nor side changes."""
    if (width, stride) == (shape[0], 1):
        return None
    return make_layer(
        f"cell{number + 1}_reduce", "basic", shape, out_channels=width, stride=stride, kernel=REDUCTION_KERNEL
    )


def edge_name(number: int, source: int, target: int) -> str:
    """Name of the edge between two nodes of cell `number` (from 0)."""
    return f"cell{number + 1}_edge{source}_{target}"


def sum_key(shape: Shape, maps: int) -> LayerKey:
    """Key of the sum of `maps` maps of a shape, which a DAG has at every node."""
    return "add", (shape,) * maps, ()


def is_edge(layer: Layer) -> bool:
    """Whether a layer is an edge of a cell."""
    return "_edge" in layer.weights


def edge_layer(number: int, source: int, target: int, block: Block, shape: Shape) -> Layer:
    """An edge of cell `number` on maps of `shape`, which it preserves; its op must not be `zero` or `identity`."""
    offered = block.model_dump(exclude={"op"}) | {"out_channels": shape[0], "stride": 1}
    return make_layer(f"{edge_name(number, source, target)}_{block.op}", block.op, shape, **offered)


def edge_layers(number: int, dag: DagSpec, shape: Shape) -> dict[tuple[int, int], list[Layer]]:
    """Every layer that each edge of cell `number` may be on maps of `shape`."""
    with yaml_place("dag.ops"):
        running = [block for block in dag.present if not is_free(block)]
        return {pair: [edge_layer(number, *pair, block, shape) for block in running] for pair in dag.pairs}


def cell_inputs(dag: DagSpec, number: int, shape: Shape) -> list[tuple[Shape, Layer | None]]:
    """Every shape that the maps of cell `number` may have after maps of `shape`, and the reduction layer for it."""
    stack, stride = dag.stacks[dag.stack_of[number]], dag.stride_of(number)
    if number and dag.stack_of[number - 1] == dag.stack_of[number]:
        return [(shape, None)]  # as wide as the cell before
    with yaml_place(f"dag.stacks.{dag.stack_of[number]}"):
        layers = [reduction_layer(number, shape, width, stride) for width in stack.width]
    return [(shape if layer is None else layer.out_shape, layer) for layer in layers]
