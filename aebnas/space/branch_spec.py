"""Exits and their branches in YAML."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.space.fields import (
    Acts,
    BranchDepths,
    BranchOps,
    Factors,
    Kernels,
    Pools,
    Resolutions,
    Switches,
    as_tuple,
    check_variants,
    filled,
    taken_by,
)

Everywhere = Literal["every_stage", "every_cell", "every_node"]


class BranchChoices(Spec):
    """The branches that the exit at one site may have: layers, then global pooling and a linear classifier.

    Layers have stride 2 (AEBNAS) until the map's shorter side is below 4.
    """

    optional: bool = True
    """Whether an architecture may omit the exit."""
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
    side: Resolutions | None = None
    """Size of the map after `resize`: pixels a side, or height x width such as `6x10`."""
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
    """The sites of exits and their branches."""

    at: Annotated[
        Everywhere | tuple[str, ...],
        BeforeValidator(lambda at: at if at in get_args(Everywhere) else as_tuple(at)),
    ] = "every_stage"
    """`every_stage` (the end of every stage, or stack of cells, except the last, which has the final classifier) or a
    list of sites: `stage2` is the end of stage 2, `stage2.block1` the position after its first block where more follow.
    In a DAG `every_cell` and `every_node` (except the last) are allowed, too; `cell2` is the end of cell 2,
    `cell2.node1` its first node, `stage1` the end of the first stack."""
    boosted: Switches = (False,)
    """Whether every exit adds half of the previous exit's logits to its own; the branch of an exit that is `never` then
    runs, too. Networks with one exit are never boosted."""
    sites: dict[str, BranchChoices] = Field(default_factory=dict)
    """Name of a site -> the choices that differ there; all other choices are those given for all sites."""

    @model_validator(mode="before")
    @classmethod
    def _sites_in_full(cls, value: Any) -> Any:
        return filled(value, BranchChoices, "sites")


def branch_channels(site_channels: int, factor: float) -> int:
    """Channels of a branch layer of width `factor` at a site with `site_channels`."""
    return max(1, round(site_channels * factor))
