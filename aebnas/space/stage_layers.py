"""The layers of stages."""

from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Block
from aebnas.space.choices import blocks
from aebnas.space.layer import Layer, make_layer, yaml_place
from aebnas.space.stage_spec import StageSpec


def block_layer(number: int, index: int, block: Block, shape: Shape, width: int, stride: int) -> Layer:
    """Block `index` of stage `number` (both from 0) on maps of `shape`; `stride` is the stage's."""
    offered = block.model_dump(exclude={"op"}) | {"out_channels": width, "stride": 1 if index else stride}
    return make_layer(f"stage{number + 1}_block{index + 1}_{block.op}", block.op, shape, **offered)


def stage_layers(number: int, stage: StageSpec, shape: Shape, width: int, stride: int) -> list[list[Layer]]:
    """For each position of stage `number` all layers it may have on maps of `shape`; their output shapes are equal."""
    positions: list[list[Layer]] = []
    for index in range(max(stage.depth)):
        with yaml_place(f"stages.{number}" + (f".blocks.{index}" if index < len(stage.blocks) else "")):
            positions.append([block_layer(number, index, b, shape, width, stride) for b in blocks(stage.at(index))])
        shape = positions[-1][0].out_shape
    return positions
