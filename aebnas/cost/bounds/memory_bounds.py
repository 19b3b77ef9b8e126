"""A lower bound of the peak memory of all networks of a space, by dynamic programming over the stages.

The state between stages is the shape of the map, its value the minimum peak over all sequences of layers to it. Memory
held for an exit or by its branch is ignored. Of a DAG all widths are enumerated, and of each cell only the last node is
considered.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch

from aebnas.cost.bounds.dag_bounds import dag_layers
from aebnas.cost.memory import image_bytes, op_bytes
from aebnas.runtime.shape_rules import Shape
from aebnas.space.branch_layers import head_layer
from aebnas.space.cell_layers import edge_layer, sum_key
from aebnas.space.dag import DagSpec, is_free
from aebnas.space.dag_backbone import DagBackbone
from aebnas.space.input_layers import input_layers, stem_layers
from aebnas.space.layer import Layer
from aebnas.space.spec import SpaceSpec
from aebnas.space.stage_layers import stage_layers
from aebnas.space.staged import StagedBackbone


def min_peak_memory(spec: SpaceSpec) -> int:
    """A lower bound of the peak bytes of every network of the space, in fp32 for one sample, the image included."""
    return image_bytes(spec.input.shape, torch.float32) + BOUNDS[spec.layout.kind](spec)


def _map_bytes(shape: Shape) -> int:
    return 4 * math.prod(shape)


def _peak(layer: Layer, is_first: bool = False) -> int:
    """Peak bytes while a layer runs, its input included, except for the first layer, whose input the caller counts."""
    held = 0 if is_first else _map_bytes(layer.in_shape)
    return held + op_bytes(layer.op, (layer.in_shape,), layer.attrs, torch.float32).peak


def _start(layers: Sequence[Layer]) -> int:
    """Peak bytes of the layers up to the stem."""
    return max(_peak(layer, is_first=number == 0) for number, layer in enumerate(layers))


def _of_stages(spec: SpaceSpec) -> int:
    minimum: dict[Shape, int] = {}

    def record(table: dict[Shape, int], shape: Shape, value: int) -> None:
        table[shape] = min(table.get(shape, value), value)

    for resolution in spec.input.resolution:
        shape, resizing = input_layers(spec.input, resolution)
        for stem in stem_layers(spec.stem, shape):
            record(minimum, stem.out_shape, _start([*resizing, stem]))
    for number, stage in enumerate(spec.stages):
        after: dict[Shape, int] = {}
        for shape, width, stride in product(minimum, stage.width, stage.stride):
            positions = stage_layers(number, stage, shape, width, stride)
            steps = [min(map(_peak, position)) for position in positions]
            for blocks in stage.reachable_depths:
                record(after, positions[0][0].out_shape, max(minimum[shape], *steps[:blocks]))
        minimum = after
    return min(max(value, _peak(head_layer(shape, spec.classes))) for shape, value in minimum.items())


def _of_dag(spec: SpaceSpec) -> int:
    assert spec.dag is not None, "a DAG backbone has a dag"
    dag, found = spec.dag, []
    for before, reductions, shapes in dag_layers(spec, dag):
        cells = [_last_node(dag, number, shape) for number, shape in enumerate(shapes)]
        blocks = [_peak(layer) for layer in reductions if layer is not None]
        found.append(max(_start(before), *blocks, *cells, _peak(head_layer(shapes[-1], spec.classes))))
    return min(found)


def _last_node(dag: DagSpec, cell: int, shape: Shape) -> int:
    """Peak bytes at a cell's last node, which is after its inner exits: with one edge, or all if none may be absent.

    The results of all these edges are held until they are summed.
    """
    sources = dag.sources(dag.nodes)
    layers = [
        None if is_free(block) else edge_layer(cell, sources[0], dag.nodes, block, shape) for block in dag.present
    ]
    if dag.may_be_absent:
        return min(_map_bytes(shape) if layer is None else _peak(layer) for layer in layers)
    results = 0 if None in layers else _map_bytes(shape) * len(sources)
    return _map_bytes(shape) + results + op_bytes(*sum_key(shape, len(sources)), torch.float32).peak


BOUNDS: dict[str, Callable[[SpaceSpec], int]] = {StagedBackbone.kind: _of_stages, DagBackbone.kind: _of_dag}
"""Kind of backbone -> the function that computes the bound, in bytes without the image."""
