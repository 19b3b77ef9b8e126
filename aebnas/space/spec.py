"""The search-space DSL: what a user writes in `search_spaces/*.yaml`, checked and frozen."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec, did_you_mean
from aebnas.core.spec_types import Side
from aebnas.runtime.shape_rules import mid_channels
from aebnas.space.architecture import Site
from aebnas.space.dag import DagSpec
from aebnas.space.exit_sites import Everywhere, ExitSites
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


class InputSpec(Spec):
    """The image."""

    channels: Width = 3
    """Channels of the image."""
    resolution: Sides
    """Side in pixels that the stem sees."""
    image_side: Side | None = None
    """Side of the images that are fed in; the largest resolution if absent. Where the two differ the network's first
    node resizes."""

    @property
    def side(self) -> int:
        """Side of the images fed in."""
        return self.image_side or max(self.resolution)


class StemSpec(Spec):
    """The convolution before the first stage."""

    width: Widths
    """Output channels."""
    kernel: Kernel = 3
    """Side of the window, odd."""
    stride: Stride = 1
    """Stride."""
    act: Acts = ("relu",)
    """Activation."""


class BlockChoices(Spec):
    """What one block can be; a choice that an op doesn't take doesn't count."""

    op: BlockOps
    """Names of ops; `skip` leaves the position out."""
    kernel: Kernels = (3,)
    """Side of the window, odd."""
    expand: Factors = (4.0,)
    """Expansion factor of the inner channels."""
    se: Switches = (False,)
    """Squeeze-and-excitation."""
    act: Acts = ("relu",)
    """Activation."""

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
    """A run of blocks at one width; the first block has the stride. Each block position chooses for itself."""

    width: Widths
    """Output channels."""
    depth: Depths
    """Number of block positions."""
    stride: Strides = (1,)
    """Stride of the first block."""
    blocks: tuple[BlockChoices, ...] = ()
    """What differs in the first block, the second, ...; everything else is as in the stage."""

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
    """What the exit at one site can be: layers, then global pooling and a linear classifier.

    Layers have stride 2 (AEBNAS) until the map's side is below 4.
    """

    optional: bool = True
    """Whether an architecture may leave the exit out."""
    depth: BranchDepths = (0,)
    """Number of layers before the pooling."""
    layer: BranchOps = ("conv",)
    """An op or a chain such as `resize+conv+maxpool`."""
    kernel: Kernels = (3,)
    """Side of the window, odd."""
    width: Factors = (1.0,)
    """Output channels of layers, as a multiple of the channels at the exit's site."""
    expand: Factors = (4.0,)
    """Expansion factor of the inner channels."""
    se: Switches = (False,)
    """Squeeze-and-excitation."""
    act: Acts = ("relu",)
    """Activation."""
    side: Sides | None = None
    """Side of the map that `resize` makes, in pixels."""
    pool: Pools = ("avg",)
    """Global pooling before the classifier."""

    @model_validator(mode="after")
    def _sides_given(self) -> "BranchChoices":
        check_variants(self, BranchChoices)
        for op in self.layer:
            if self.side is None and "side" in taken_by(op):
                raise SpecError("side", f"must be given for layer {op}, but got nothing")
        return self


class ExitsSpec(BranchChoices):
    """Where exits may sit and what they may be."""

    at: Annotated[
        Everywhere | tuple[str, ...],
        BeforeValidator(lambda at: at if at in get_args(Everywhere) else as_tuple(at)),
    ] = "every_stage"
    """`every_stage` (the end of every stage, or stack of cells, but the last, which has the final classifier) or a list
    of sites: `stage2` is the end of stage 2, `stage2.block1` lies behind its first block where more follow. In a DAG
    `every_cell` and `every_node` (all but the last) name sites, too; `cell2` is the end of cell 2, `cell2.node1` its
    first node."""
    places: dict[str, BranchChoices] = Field(default_factory=dict)
    """What differs at one site, by its name; everything else holds for all."""

    @model_validator(mode="before")
    @classmethod
    def _places_in_full(cls, value: Any) -> Any:
        return filled(value, BranchChoices, "places")


class SpaceSpec(Spec):
    """A whole search space; its backbone is made of `stages`, or (`backbone: dag`) of the cells of `dag`."""

    input: InputSpec
    """The image."""
    classes: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    """Number of classes."""
    stem: StemSpec
    """The first convolution."""
    backbone: Literal["staged", "dag"] = "staged"
    """`staged` reads `stages`, `dag` reads `dag`."""
    stages: tuple[StageSpec, ...] = ()
    """The stages of a staged backbone, from input to output."""
    dag: DagSpec | None = None
    """The cells of a DAG backbone."""
    exits: ExitsSpec = ExitsSpec()
    """Early exits: their sites and branches."""
    policy: PolicySpec = PolicySpec()
    """When to stop."""

    @model_validator(mode="before")
    @classmethod
    def _one_backbone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        wanted, other = ("dag", "stages") if value.get("backbone") == "dag" else ("stages", "dag")
        if value.get(wanted) is None:
            raise SpecError(wanted, f"this key is required where backbone is {value.get('backbone', 'staged')}")
        if value.get(other):
            raise SpecError(other, f"must be absent where backbone is {value.get('backbone', 'staged')}")
        return value

    @model_validator(mode="after")
    def _some_stage(self) -> "SpaceSpec":
        if self.backbone == "staged" and not self.stages:
            raise SpecError("stages", "must have at least one stage, but got []")
        return self

    @model_validator(mode="after")
    def _places_exist(self) -> "SpaceSpec":
        sites = self.sites()
        names = [site.name for site in sites]
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
        inside = [site.name for site in sites if site.in_cell and site.block is not None]
        if self.dag and self.dag.shared and len(self.dag.stack_of) > 1 and inside:
            rule = "must be ends of cells where cells are shared (an exit inside would make its cell differ)"
            raise SpecError("exits.at", f"{rule}, but got '{inside[0]}'")
        return self

    @model_validator(mode="after")
    def _branch_widths_differ(self) -> "SpaceSpec":
        for site in self.sites():
            branch = self.branch(site)
            place = f"exits.places.{site.name}" if site.name in self.exits.places else "exits"
            for channels in self.widths_at(site):
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

    def widths_at(self, site: Site) -> tuple[int, ...]:
        """The channels that there can be at a site."""
        if self.dag is not None:
            return self.dag.stacks[self.dag.stack_of[site.stage]].width
        return self.stages[site.stage].width

    def sites(self) -> tuple[Site, ...]:
        """The places where exits may sit, shallow to deep."""
        parts = [max(stage.depth) for stage in self.stages] if self.dag is None else None
        return ExitSites(self.dag, parts).chosen(self.exits.at)

    def branch(self, site: Site) -> BranchChoices:
        """What the exit at a site can be."""
        return self.exits.places.get(site.name, self.exits)


def branch_channels(site_channels: int, factor: float) -> int:
    """Channels of a branch layer of width `factor` at a place with `site_channels`."""
    return max(1, round(site_channels * factor))
