"""The search-space DSL: what a user writes in `search_spaces/*.yaml`, checked and frozen.

Wherever a choice is expected, one value or a list of distinct values may stand.
"""

from collections.abc import Hashable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from aebnas.runtime.ops import mbconv_mid_channels
from aebnas.specfile import Spec

Value = TypeVar("Value", bound=Hashable)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _distinct(choices: tuple[Value, ...]) -> tuple[Value, ...]:
    if not choices:
        raise ValueError("must offer at least one choice")
    if len(set(choices)) != len(choices):
        raise ValueError("choices must be distinct")
    return choices


def _odd(kernels: tuple[int, ...]) -> tuple[int, ...]:
    if any(kernel % 2 == 0 for kernel in kernels):
        raise ValueError("kernels must be odd")
    return kernels


Positive = Annotated[int, Field(strict=True, ge=1)]
Stride = Annotated[int, Field(strict=True, ge=1, le=4)]
BranchDepth = Annotated[int, Field(strict=True, ge=0, le=3)]
Fraction = Annotated[float, Field(gt=0)]
Widths = Annotated[
    tuple[Positive, ...],
    BeforeValidator(_as_tuple, json_schema_input_type=Positive | list[Positive]),
    AfterValidator(_distinct),
]
Kernels = Annotated[Widths, AfterValidator(_odd)]
Factors = Annotated[
    tuple[Fraction, ...],
    BeforeValidator(_as_tuple, json_schema_input_type=Fraction | list[Fraction]),
    AfterValidator(_distinct),
]
Threshold = Annotated[float, Field(ge=0, le=1)] | Literal["never"]
BlockOp = Literal["basic", "mbconv", "skip"]
BranchOp = Literal["conv", "sepconv", "maxpool", "avgpool"]
Criterion = Literal["confidence", "entropy", "margin"]

OPS_WITH_EXPANSION = frozenset({"mbconv"})
"""Block ops for which the `expand` choice means something."""
BRANCH_OPS_WITH_WIDTH = frozenset({"conv", "sepconv"})
"""Branch layers for which the `width` choice means something; pools keep their channels."""


class InputSpec(Spec):
    """The picture: `channels` and side length `resolution` in pixels."""

    channels: Positive = 3
    resolution: Positive


class StemSpec(Spec):
    """The convolution before the first stage."""

    width: Widths
    kernel: Annotated[Positive, AfterValidator(lambda k: _odd((k,))[0])] = 3
    stride: Stride = 1


class StageSpec(Spec):
    """A run of blocks at one width; the first block has the stride.

    `depth` counts block positions; each picks `op`, `kernel` and `expand` by itself. A `skip` leaves its
    position out.
    """

    width: Widths
    depth: Widths
    stride: Annotated[
        tuple[Stride, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Stride | list[Stride]),
        AfterValidator(_distinct),
    ] = (1,)
    op: Annotated[
        tuple[BlockOp, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=BlockOp | list[BlockOp]),
        AfterValidator(_distinct),
    ]
    kernel: Kernels = (3,)
    expand: Factors = (4.0,)

    @field_validator("op")
    @classmethod
    def _something_to_run(cls, ops: tuple[BlockOp, ...]) -> tuple[BlockOp, ...]:
        if set(ops) == {"skip"}:
            raise ValueError("must offer an op besides skip")
        return ops

    @field_validator("depth")
    @classmethod
    def _ordered(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(depths))


class ExitsSpec(Spec):
    """Where exits may sit and what their branches may be.

    `at` is `every_stage` (the end of every stage but the last, which has the final classifier) or a list of
    places: `stage2` is the end of stage 2, `stage2.block1` lies behind its first block where more follow.
    A branch has `depth` layers, then global average pooling and a linear classifier. `width` is a multiple of
    the channels at the exit's place; layers have stride 2 (AEBNAS) until the map's side is below 4.
    """

    at: Annotated[
        Literal["every_stage"] | tuple[str, ...],
        BeforeValidator(lambda at: at if at == "every_stage" else _as_tuple(at)),
    ] = "every_stage"
    optional: bool = True
    depth: Annotated[
        tuple[BranchDepth, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=BranchDepth | list[BranchDepth]),
        AfterValidator(_distinct),
    ] = (0,)
    layer: Annotated[
        tuple[BranchOp, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=BranchOp | list[BranchOp]),
        AfterValidator(_distinct),
    ] = ("conv",)
    kernel: Kernels = (3,)
    width: Factors = (1.0,)


class OptimiseSpec(Spec):
    """Thresholds found on the ExitTable: the joint grid of `per_exit` quantiles of each exit's scores.

    At most `max_points` operating points of an architecture's frontier are kept (evenly spread over cost).
    """

    grid: Literal["quantiles"] = "quantiles"
    per_exit: Annotated[int, Field(ge=2, le=1000)] = 20
    max_points: Annotated[int, Field(ge=1, le=1000)] = 20


class ThresholdsSpec(Spec):
    """Either `genes` (the search picks one of these per exit, as AEBNAS does) or `optimise`."""

    genes: Annotated[tuple[Threshold, ...], BeforeValidator(_as_tuple)] | None = None
    optimise: OptimiseSpec | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "ThresholdsSpec":
        if (self.genes is None) == (self.optimise is None):
            raise ValueError("must have either genes or optimise")
        if self.genes is not None:
            _distinct(self.genes)
        return self


class PolicySpec(Spec):
    """When to stop: the criteria to choose from and where thresholds come from."""

    criterion: Annotated[
        tuple[Criterion, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Criterion | list[Criterion]),
        AfterValidator(_distinct),
    ] = ("confidence",)
    thresholds: ThresholdsSpec = ThresholdsSpec(optimise=OptimiseSpec())


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
    classes: Annotated[int, Field(ge=2)]
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
            raise ValueError("exits.at: places must be distinct")
        return self

    @model_validator(mode="after")
    def _branch_widths_differ(self) -> "SpaceSpec":
        for site in self.sites():
            for channels in self.stages[site.stage].width:
                widths = [branch_channels(channels, factor) for factor in self.exits.width]
                if len(set(widths)) != len(widths):
                    factors = list(self.exits.width)
                    raise ValueError(f"exits.width: {factors} of {channels} channels must give different widths")
        return self

    @model_validator(mode="after")
    def _expanded_widths_differ(self) -> "SpaceSpec":
        before = self.stem.width
        for number, stage in enumerate(self.stages):
            for channels in (*before, *stage.width) if OPS_WITH_EXPANSION & set(stage.op) else ():
                widths = [mbconv_mid_channels(channels, factor) for factor in stage.expand]
                if len(set(widths)) != len(widths):
                    place, factors = f"stages.{number}.expand", list(stage.expand)
                    raise ValueError(f"{place}: {factors} of {channels} channels must give different widths")
            before = stage.width
        return self

    def sites(self) -> tuple[Site, ...]:
        """The places where exits may sit, shallow to deep."""
        if self.exits.at == "every_stage":
            return tuple(Site(stage=number) for number in range(len(self.stages) - 1))
        sites = [self._site(place) for place in self.exits.at]
        return tuple(sorted(sites, key=lambda site: (site.stage, site.block or max(self.stages[site.stage].depth))))

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
            raise ValueError(f"exits.at: '{place}' is no place for an exit (stage ends: {ends}{hint})")
        return Site(stage=numbers[stage_name], block=blocks.get(block_name))


def branch_channels(site_channels: int, factor: float) -> int:
    """Channels of a branch layer of width `factor` at a place with `site_channels`."""
    return max(1, round(site_channels * factor))
