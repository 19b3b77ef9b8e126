"""A staged backbone in YAML: sequences of blocks at one width."""

from typing import Any

from pydantic import field_validator, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.space.fields import (
    SKIP,
    Acts,
    BlockOps,
    Depths,
    Factors,
    Kernels,
    Strides,
    Switches,
    Widths,
    check_variants,
    filled,
)


class BlockChoices(Spec):
    """The choices of one block; a choice of an attribute that the op doesn't have makes no difference."""

    op: BlockOps
    """Names of ops; `skip` omits the position."""
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
            raise ValueError("must have an op besides skip")
        return ops

    @model_validator(mode="after")
    def _few_enough(self) -> "BlockChoices":
        check_variants(self, BlockChoices)
        return self


class StageSpec(BlockChoices):
    """A sequence of blocks at one width; the first block has the stride. Each position is selected independently."""

    width: Widths
    """Output channels."""
    depth: Depths
    """Number of block positions."""
    stride: Strides = (1,)
    """Stride of the first block."""
    blocks: tuple[BlockChoices, ...] = ()
    """The choices that differ in the first block, the second, ...; all others are those of the stage."""

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
            rule = f"must have at most {max(self.depth)} entries, the maximum depth, but got {len(self.blocks)}"
            raise SpecError("blocks", rule)
        # a skip moves later blocks to other positions, where they might not be a choice
        if self.blocks and any(SKIP in choices.op for choices in (self, *self.blocks)):
            raise ValueError("must not combine skip and blocks; several depths omit blocks, too")
        return self

    @property
    def reachable_depths(self) -> list[int]:
        """Possible numbers of blocks after skips are removed; a stage of skips only has one block."""
        if SKIP in self.op:
            return list(range(1, max(self.depth) + 1))
        return list(self.depth)

    def at(self, position: int) -> BlockChoices:
        """The choices of a block position (from 0)."""
        return self.blocks[position] if position < len(self.blocks) else self
