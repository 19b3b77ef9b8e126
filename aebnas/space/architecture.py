"""One early-exit network of a space, as frozen data. No exit policy in it."""

import hashlib
import json
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Block(_Part):
    """One block; `expand` is None where the op has no expansion."""

    op: str
    kernel: int
    expand: float | None = None


class Stage(_Part):
    """Blocks at one width; the first has the stride. Skipped positions are already left out."""

    width: int
    stride: int
    blocks: tuple[Block, ...]


class BranchLayer(_Part):
    """One layer of an exit branch; `width` (a multiple of the site's channels) is None for pools."""

    op: str
    kernel: int
    width: float | None = None


class Exit(_Part):
    """A present exit: behind `block` blocks of stage `stage` (from 0; None: the stage's end), and its branch."""

    stage: int
    block: int | None
    layers: tuple[BranchLayer, ...]


class Stem(_Part):
    """The first convolution."""

    width: int
    kernel: int
    stride: int


class Architecture(_Part):
    """Everything that makes a network but its weights and policy; equal networks have equal `id`s.

    `exits` runs from shallow to deep and leaves out the final classifier, which is always there.
    """

    channels: int
    resolution: int
    classes: int
    stem: Stem
    stages: tuple[Stage, ...]
    exits: tuple[Exit, ...]

    @cached_property
    def id(self) -> str:
        """Ten hexadecimal digits of a hash over the canonical JSON form."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Architecture":
        """Read what `to_json` wrote; raises pydantic's ValidationError (a ValueError) when it isn't that."""
        return cls.model_validate(value)

    def __str__(self) -> str:
        """One line for people: widths x blocks a stage, exits with their branch layers."""
        stages = " ".join(
            f"{s.width}{'/' + str(s.stride) if s.stride > 1 else ''}:"
            + ",".join(b.op + str(b.kernel) + (f"e{b.expand:g}" if b.expand else "") for b in s.blocks)
            for s in self.stages
        )
        exits = " ".join(
            f"@{e.stage + 1}{'' if e.block is None else f'.{e.block}'}"
            f"[{','.join(x.op + str(x.kernel) + (f'x{x.width:g}' if x.width else '') for x in e.layers)}]"
            for e in self.exits
        )
        return f"{self.stem.width} | {stages} | {exits or 'no early exit'}"
