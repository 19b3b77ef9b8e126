"""One early-exit network of a space, as frozen data. No exit policy in it."""

import hashlib
import json
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Block(_Part):
    """One block. What its op doesn't take is None or at its default."""

    op: str
    kernel: int | None
    expand: float | None
    se: bool = False
    act: str = "relu"

    def __str__(self) -> str:
        return _label(self)


class Stage(_Part):
    """Blocks at one width; the first has the stride. Skipped positions are already left out."""

    width: int
    stride: int
    blocks: tuple[Block, ...]


class BranchLayer(_Part):
    """One layer of an exit branch: an op or a chain of them (`resize+conv`). `width` is a multiple of the site's
    channels, `side` the map that `resize` makes. What no op takes is None or at its default.
    """

    op: str
    kernel: int | None
    width: float | None
    expand: float | None = None
    se: bool = False
    act: str = "relu"
    side: int | None = None

    def __str__(self) -> str:
        return _label(self)


class Exit(_Part):
    """A present exit: behind `block` blocks of stage `stage` (from 0; None: the stage's end), and its branch.

    `pool` is the global pooling before the branch's linear layer.
    """

    stage: int
    block: int | None
    layers: tuple[BranchLayer, ...]
    pool: str = "avg"


class Stem(_Part):
    """The first convolution."""

    width: int
    kernel: int
    stride: int
    act: str = "relu"


class Architecture(_Part):
    """Everything that makes a network but its weights and policy; equal networks have equal `id`s.

    Equal means: made of the same nodes. `exits` runs from shallow to deep and leaves out the final classifier,
    which is always there. `picture` is the side of the pictures fed in where they are resized to `resolution`.
    """

    channels: int
    resolution: int
    classes: int
    stem: Stem
    stages: tuple[Stage, ...]
    exits: tuple[Exit, ...]
    picture: int | None = None

    @property
    def side(self) -> int:
        """Side of the pictures fed in."""
        return self.picture or self.resolution

    @cached_property
    def id(self) -> str:
        """Ten hexadecimal digits of a hash over the canonical JSON form."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary.

        Fields at their default are left out, so the ids in old results stay valid when a field is added.
        """
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Architecture":
        """Read what `to_json` wrote; raises pydantic's ValidationError (a ValueError) when it isn't that."""
        return cls.model_validate(value)

    def __str__(self) -> str:
        """One line for people: widths x blocks a stage, exits with their branch layers."""
        stages = " ".join(
            f"{s.width}{'/' + str(s.stride) if s.stride > 1 else ''}:{','.join(map(str, s.blocks))}"
            for s in self.stages
        )
        exits = " ".join(
            f"@{e.stage + 1}{'' if e.block is None else f'.{e.block}'}"
            f"[{','.join(map(str, e.layers))}]{'' if e.pool == 'avg' else e.pool}"
            for e in self.exits
        )
        size = "" if self.picture is None else f"{self.resolution}px "
        return f"{size}{self.stem.width} | {stages} | {exits or 'no early exit'}"


def _label(part: Block | BranchLayer) -> str:
    """Op, kernel and whatever isn't as usual: `mbconv5e4-se-hswish`, `resize+conv3x2@8`."""
    width, side = (part.width, part.side) if isinstance(part, BranchLayer) else (None, None)
    return (
        f"{part.op}{part.kernel or ''}"
        + (f"x{width:g}" if width else "")
        + (f"e{part.expand:g}" if part.expand else "")
        + ("-se" if part.se else "")
        + (f"-{part.act}" if part.act != "relu" else "")
        + (f"@{side}" if side else "")
    )
