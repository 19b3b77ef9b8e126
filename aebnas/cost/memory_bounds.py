"""The least peak memory that any network of a space can have, by dynamic programming over the stages.

The state between stages is the shape of the map, its value the least peak of any way there. It is a lower bound: what
is held for an exit or by its branch isn't looked at.
"""

from itertools import product

import torch

from aebnas.cost.memory import op_bytes, standing_bytes
from aebnas.runtime.shapes import Shape
from aebnas.space.layers import Layer, head_layer, input_layers, stage_layers, stem_layers
from aebnas.space.size import reachable_depths
from aebnas.space.spec import SpaceSpec


def least_peak_memory(spec: SpaceSpec) -> int:
    """Bytes that every network of the space needs at least, in fp32 for one sample, the picture included."""
    channels, side = spec.input.channels, spec.input.side
    standing = standing_bytes((channels, side, side), spec.classes, torch.float32)

    def peak(layer: Layer, is_first: bool = False) -> int:
        held = 0 if is_first else 4 * layer.in_shape[0] * layer.in_shape[1] * layer.in_shape[2]
        return standing + held + op_bytes(layer.op, (layer.in_shape,), layer.attrs, torch.float32).peak

    least: dict[Shape, int] = {}

    def keep(table: dict[Shape, int], shape: Shape, value: int) -> None:
        table[shape] = min(table.get(shape, value), value)

    for resolution in spec.input.resolution:
        shape, resizing = input_layers(spec.input, resolution)
        before = max((peak(layer, is_first=True) for layer in resizing), default=0)
        for stem in stem_layers(spec, shape):
            keep(least, stem.out_shape, max(before, peak(stem, is_first=not resizing)))
    for number, stage in enumerate(spec.stages):
        after: dict[Shape, int] = {}
        for shape, width, stride in product(least, stage.width, stage.stride):
            positions = stage_layers(number, stage, shape, width, stride)
            steps = [min(map(peak, position)) for position in positions]
            for blocks in reachable_depths(stage):
                keep(after, positions[0][0].out_shape, max(least[shape], *steps[:blocks]))
        least = after
    return min(max(value, peak(head_layer(shape, spec.classes))) for shape, value in least.items())
