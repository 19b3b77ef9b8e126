"""The search-space DSL: what a user writes in `search_spaces/*.yaml`, checked and frozen."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from aebnas.errors import SpecError
from aebnas.runtime.shapes import mid_channels
from aebnas.scalars import Side
from aebnas.space.fields import (
    SKIP,
    Acts,
    BlockOps,
    BranchDepths,
    BranchOps,
    Depths,
    Factors,
    Kernel,
    Kernels,
    Pools,
    Sides,
    Stride,
    Strides,
    Switches,
    Width,
    Widths,
    as_tuple,
    check_differ,
    check_variants,
    filled,
    taken_by,
)
from aebnas.space.policy_spec import LAST, PolicySpec
from aebnas.specfile import Spec, did_you_mean


class InputSpec(Spec):
    """The picture: `channels`, and `resolution`, the side in pixels that the stem sees.

    `picture` is the side of the pictures fed in (default: the largest resolution); where the two differ the
    network's first node resizes.
    """

    channels: Width = 3
    resolution: Sides
    picture: Side | None = None

    @property
    def side(self) -> int:
        """Side of the pictures fed in."""
        return self.picture or max(self.resolution)


class StemSpec(Spec):
    """The convolution before the first stage."""

    width: Widths
    kernel: Kernel = 3
    stride: Stride = 1
    act: Acts = ("relu",)


class BlockChoices(Spec):
    """What one block can be; `expand`, `se` (squeeze-excite) and `act` count for the ops that take them."""

    op: BlockOps
    kernel: Kernels = (3,)
    expand: Factors = (4.0,)
    se: Switches = (False,)
    act: Acts = ("relu",)

    @field_validator("op")
    @classmethod
    def _something_to_run(cls, ops: tuple[str, ...]) -> tuple[str, ...]:
        if set(ops) == {SKIP}:
            raise ValueError("must offer an op besides skip")
        return ops

    @model_validator(mode="after")
    def _few_enough(self) -> "BlockChoices":
        check_variants(self, BlockChoices)
        return self


class StageSpec(BlockChoices):
    """A run of blocks at one width; the first block has the stride.

    `depth` counts block positions, which choose each for itself. What stands in the stage holds for all of
    them, what stands in the i-th entry of `blocks` for the i-th. A `skip` leaves its position out.
    """

    width: Widths
    depth: Depths
    stride: Strides = (1,)
    blocks: tuple[BlockChoices, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _blocks_in_full(cls, value: Any) -> Any:
        return filled(value, BlockChoices, "blocks")

    @field_validator("depth")
    @classmethod
    def _ordered(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(depths))

    @model_validator(mode="after")
    def _blocks_fit(self) -> "StageSpec":
        if len(self.blocks) > max(self.depth):
            rule = f"must be at most {max(self.depth)}, the greatest depth, but got {len(self.blocks)}"
            raise SpecError("blocks", rule)
        # a skip moves the blocks behind it to other positions, where they might not be a choice
        if self.blocks and any(SKIP in choices.op for choices in (self, *self.blocks)):
            raise ValueError("must have either skip or blocks; depth also leaves blocks out")
        return self

    def at(self, position: int) -> BlockChoices:
        """The choices of a block position (from 0)."""
        return self.blocks[position] if position < len(self.blocks) else self


class BranchChoices(Spec):
    """What the exit at one place can be: `depth` layers, then global pooling (`pool`) and a linear classifier.

    A layer is an op or a chain such as `resize+conv+maxpool`. `width` is a multiple of the channels at the
    exit's place, `side` the map that `resize` makes. Layers have stride 2 (AEBNAS) until the map's side is
    below 4. An exit that isn't `optional` is always there.
    """

    optional: bool = True
    depth: BranchDepths = (0,)
    layer: BranchOps = ("conv",)
    kernel: Kernels = (3,)
    width: Factors = (1.0,)
    expand: Factors = (4.0,)
    se: Switches = (False,)
    act: Acts = ("relu",)
    side: Sides | None = None
    pool: Pools = ("avg",)

    @model_validator(mode="after")
    def _sides_given(self) -> "BranchChoices":
        check_variants(self, BranchChoices)
        for op in self.layer:
            if self.side is None and "side" in taken_by(op):
                raise SpecError("side", f"must be given for layer {op}, but got nothing")
        return self


class ExitsSpec(BranchChoices):
    """Where exits may sit and what they may be.

    `at` is `every_stage` (the end of every stage but the last, which has the final classifier) or a list of
    places: `stage2` is the end of stage 2, `stage2.block1` lies behind its first block where more follow.
    What stands in `places` holds for the place named, everything else for all.
    """

    at: Annotated[
        Literal["every_stage"] | tuple[str, ...],
        BeforeValidator(lambda at: at if at == "every_stage" else as_tuple(at)),
    ] = "every_stage"
    places: dict[str, BranchChoices] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _places_in_full(cls, value: Any) -> Any:
        return filled(value, BranchChoices, "places")


class Site(Spec):
    """A place for an exit: stage number from 0, and the number of blocks before it (None: the stage's end)."""

    stage: int
    block: int | None = None

    @property
    def name(self) -> str:
        """The name used in YAML, numbered from 1."""
        return f"stage{self.stage + 1}" + ("" if self.block is None else f".block{self.block}")


class SpaceSpec(Spec):
    """A whole search space."""

    input: InputSpec
    classes: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    stem: StemSpec
    stages: tuple[StageSpec, ...]
    exits: ExitsSpec = ExitsSpec()
    policy: PolicySpec = PolicySpec()

    @field_validator("stages")
    @classmethod
    def _some_stage(cls, stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
        if not stages:
            raise ValueError("must have at least one stage")
        return stages

    @model_validator(mode="after")
    def _places_exist(self) -> "SpaceSpec":
        names = [site.name for site in self.sites()]
        if len(set(names)) != len(names):
            raise SpecError("exits.at", f"places must be distinct, but got {names}")
        for place in self.exits.places:
            if place not in names:
                rule = f"must be of {', '.join(names) or 'no exit'}, but got '{place}'"
                raise SpecError("exits.places", rule)
        for where, place in self.policy.places.items():
            if place not in (*names, LAST):
                rule = f"must be of {', '.join((*names, LAST))}, but got '{place}'{did_you_mean(place, names)}"
                raise SpecError(f"policy.{where}", rule)
        for label in self.policy.min_exit_by_class:
            if label >= self.classes:
                rule = f"classes must be in 0..{self.classes - 1}, but got {label}"
                raise SpecError("policy.min_exit_by_class", rule)
        return self

    @model_validator(mode="after")
    def _branch_widths_differ(self) -> "SpaceSpec":
        for site in self.sites():
            branch = self.branch(site)
            place = f"exits.places.{site.name}" if site.name in self.exits.places else "exits"
            for channels in self.stages[site.stage].width:
                widths = check_differ(f"{place}.width", branch.width, channels, branch_channels)
                if any("expand" in taken_by(op) for op in branch.layer):
                    for inside in {channels, *widths}:
                        check_differ(f"{place}.expand", branch.expand, inside, mid_channels)
        return self

    @model_validator(mode="after")
    def _expanded_widths_differ(self) -> "SpaceSpec":
        before = self.stem.width
        for number, stage in enumerate(self.stages):
            for position in range(max(stage.depth)):
                choices = stage.at(position)
                if any("expand" in taken_by(op) for op in choices.op if op != SKIP):
                    place = f"stages.{number}" + (f".blocks.{position}" if choices is not stage else "")
                    for channels in stage.width if position else before:
                        check_differ(f"{place}.expand", choices.expand, channels, mid_channels)
            before = stage.width
        return self

    def sites(self) -> tuple[Site, ...]:
        """The places where exits may sit, shallow to deep."""
        if self.exits.at == "every_stage":
            return tuple(Site(stage=number) for number in range(len(self.stages) - 1))
        sites = [self._site(place) for place in self.exits.at]
        return tuple(sorted(sites, key=lambda site: (site.stage, site.block or max(self.stages[site.stage].depth))))

    def branch(self, site: Site) -> BranchChoices:
        """What the exit at a site can be."""
        return self.exits.places.get(site.name, self.exits)

    def _site(self, place: str) -> Site:
        stage_name, dot, block_name = place.partition(".")
        numbers = {f"stage{n + 1}": n for n in range(len(self.stages))}
        blocks = {}
        if stage_name in numbers:
            blocks = {f"block{b}": b for b in range(1, max(self.stages[numbers[stage_name]].depth))}
        at_the_end = not dot and numbers.get(stage_name) == len(self.stages) - 1
        if stage_name not in numbers or at_the_end or (dot and block_name not in blocks):
            ends = ", ".join(list(numbers)[:-1]) or "none"
            hint = f"; behind blocks there: {', '.join(blocks)}" if blocks else ""
            raise SpecError("exits.at", f"must be places for exits (stage ends: {ends}{hint}), but got '{place}'")
        return Site(stage=numbers[stage_name], block=blocks.get(block_name))


def branch_channels(site_channels: int, factor: float) -> int:
    """Channels of a branch layer of width `factor` at a place with `site_channels`."""
    return max(1, round(site_channels * factor))
