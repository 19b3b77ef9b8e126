"""The staged backbone as a `Backbone`: stages of blocks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from aebnas.core.errors import SpecError
from aebnas.runtime.op import LayerKey
from aebnas.runtime.shape_rules import Shape, mid_channels
from aebnas.space.architecture import Architecture, Block, Cell, Exit, Site, Stage
from aebnas.space.backbone import Backbone
from aebnas.space.choices import block_genes, blocks, encode_part, make_block, named, values_of
from aebnas.space.fields import SKIP, check_differ, taken_by
from aebnas.space.layer import Layer
from aebnas.space.polynomials import Ways, add, multiply
from aebnas.space.stage_layers import stage_layers
from aebnas.space.stage_spec import StageSpec


@dataclass(frozen=True)
class StagedBackbone(Backbone):
    """Stages of blocks at one width each; see `Backbone`."""

    stages: tuple[StageSpec, ...]

    kind = "staged"
    field = "stages"
    part_word = "stage"
    inside_word = "block"
    inside_phrase = "after blocks"

    @property
    def depths(self) -> list[int]:
        return [max(stage.depth) for stage in self.stages]

    def site(self, part: int, block: int | None) -> Site:
        return Site(stage=part, block=block)

    def everywhere(self, at: str) -> tuple[Site, ...]:
        if at != "every_stage":
            raise SpecError("exits.at", f"must be every_stage or sites when backbone is staged, but got '{at}'")
        return tuple(self.site(number, None) for number in range(len(self.stages) - 1))

    def check_sites(self, sites: Sequence[Site]) -> None:
        """All sites are possible."""

    def check_widths(self, stem_widths: tuple[int, ...]) -> None:
        before = stem_widths
        for number, stage in enumerate(self.stages):
            for position in range(max(stage.depth)):
                choices = stage.at(position)
                if any("expand" in taken_by(op) for op in choices.op if op != SKIP):
                    place = f"stages.{number}" + (f".blocks.{position}" if choices is not stage else "")
                    for channels in stage.width if position else before:
                        check_differ(f"{place}.expand", choices.expand, channels, mid_channels)
            before = stage.width

    def widths(self, part: int) -> tuple[int, ...]:
        return self.stages[part].width

    def genes(self) -> dict[str, tuple[Any, ...]]:
        genes: dict[str, tuple[Any, ...]] = {}
        for number, stage in enumerate(self.stages):
            here = f"stage{number + 1}"
            genes |= {f"{here}.width": stage.width, f"{here}.stride": stage.stride, f"{here}.depth": stage.depth}
            for position in range(max(stage.depth)):
                genes |= named(f"{here}.block{position + 1}", block_genes(stage.at(position)))
        return genes

    def decode(self, choices: Mapping[str, Any], exits: Sequence[Exit]) -> Sequence[Stage | Cell]:
        return tuple(self._decode_stage(number, choices) for number in range(len(self.stages)))

    def _decode_stage(self, number: int, choices: Mapping[str, Any]) -> Stage:
        here = f"stage{number + 1}"
        positions = [
            values_of(f"{here}.block{position + 1}", Block, choices) for position in range(choices[f"{here}.depth"])
        ]
        present = [position for position in positions if position["op"] != SKIP]
        if not present:  # a stage changes width and stride, so it needs one block
            present = [positions[0] | {"op": next(op for op in self.stages[number].op if op != SKIP)}]
        return Stage(
            width=choices[f"{here}.width"], stride=choices[f"{here}.stride"], blocks=tuple(map(make_block, present))
        )

    def encode(self, architecture: Architecture) -> dict[str, Any]:
        if len(architecture.stages) != len(self.stages):
            raise ValueError("the candidate is not of this space")
        choices: dict[str, Any] = {}
        for number, stage in enumerate(architecture.stages):
            here, count = f"stage{number + 1}", len(stage.blocks)
            depth = next((d for d in self.stages[number].depth if d >= count), count)
            choices |= {f"{here}.width": stage.width, f"{here}.stride": stage.stride, f"{here}.depth": depth}
            for index in range(depth):
                at = f"{here}.block{index + 1}"
                choices |= {f"{at}.op": SKIP} if index >= count else encode_part(at, stage.blocks[index])
        return choices

    def extreme_choice(self, gene: str, largest: bool) -> Block | None:
        return None

    def part_layers(self, part: int, maps: set[Shape]) -> tuple[set[Shape], set[Layer]]:
        stage = self.stages[part]
        layers: set[Layer] = set()
        maps_after: set[Shape] = set()
        for in_shape, width, stride in product(maps, stage.width, stage.stride):
            positions = stage_layers(part, stage, in_shape, width, stride)
            layers.update(layer for position in positions for layer in position)
            maps_after.add(positions[0][0].out_shape)
        return maps_after, layers

    def sums(self, layers: set[Layer]) -> set[LayerKey]:
        return set()

    def ways(self, sites: Sequence[Site], exit_ways: Callable[[Site], Ways]) -> Ways:
        ways: Ways = [1]
        for number, stage in enumerate(self.stages):
            here: Ways = [0]
            for depth in stage.reachable_depths:
                term = [math.prod(len(blocks(stage.at(position))) for position in range(depth))]
                for site in sites:
                    if site.stage == number and (site.block is None or site.block < depth):
                        term = multiply(term, exit_ways(site))
                here = add(here, term)
            ways = multiply(ways, [len(stage.width) * len(stage.stride) * count for count in here])
        return ways
