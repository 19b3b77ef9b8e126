"""One early-exit network of a space, as frozen data, without an exit policy."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from aebnas.core.earlier_names import first_names, with_present_names
from aebnas.core.resolution import Resolution
from aebnas.runtime.shape_rules import Shape

RENAMED = {"picture": "image_size", "image_side": "image_size"}
"""Earlier names of fields of architectures and of a space's input, those of version 0.1 first."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Block(_Part):
    """One block. Attributes that its op doesn't have are None or at their default."""

    op: str
    kernel: int | None
    expand: float | None
    se: bool = False
    act: str = "relu"

    def __str__(self) -> str:
        return _label(self)


class Stage(_Part):
    """Blocks at one width; the first has the stride. Skipped positions are omitted."""

    width: int
    stride: int
    blocks: tuple[Block, ...]

    @property
    def contents(self) -> tuple[Block, ...]:
        """What it is made of."""
        return self.blocks

    def has_site(self, block: int | None) -> bool:
        """Whether an exit can be placed after `block` blocks, with others behind it (None: at the stage's end)."""
        return block is None or block < len(self.blocks)


class Edge(_Part):
    """From node `source` to node `target` of a cell; node 0 is the cell's input.

    `ops` are the candidates, one of which runs for each sample; without `Architecture.controller` there is only one.
    Raises ValueError for an edge that doesn't lead to a later node, or without op.
    """

    source: int
    target: int
    ops: tuple[Block, ...]

    @model_validator(mode="after")
    def _leads_on(self) -> "Edge":
        if not 0 <= self.source < self.target or not self.ops:
            got = f"{self.source} to {self.target} with {len(self.ops)} ops"
            raise ValueError(f"an edge must lead to a later node and have an op, but got {got}")
        return self

    def __str__(self) -> str:
        return f"{self.source}-{self.target}:{'|'.join(map(str, self.ops))}"


class Cell(_Part):
    """A DAG of `nodes` nodes after its input, which is node 0; each is the sum of its edges, the last is the output.

    A residual block precedes the cell where `stride` or `width` changes the map. Dead edges (from a node that isn't
    reached from the input, or to one from which neither the output nor an exit is reached) are omitted.
    """

    width: int
    stride: int
    nodes: int
    edges: tuple[Edge, ...]

    @property
    def contents(self) -> tuple[Edge, ...]:
        """What it is made of."""
        return self.edges

    def has_site(self, node: int | None) -> bool:
        """Whether an exit can be placed at a node (None: the last), which must be reached from the cell's input."""
        return (self.nodes if node is None else node) in reached(self.edges)


def reached(edges: Sequence[Edge]) -> set[int]:
    """Nodes reached from the cell's input by `edges`, which are sorted by target."""
    nodes = {0}
    for edge in edges:
        if edge.source in nodes:
            nodes.add(edge.target)
    return nodes


class BranchLayer(_Part):
    """One layer of an exit branch: an op or a chain of them (`resize+conv`). `width` is a multiple of the site's
    channels, `side` the size of the map after `resize`. Attributes that no op of it has are None or at their default.
    """

    op: str
    kernel: int | None
    width: float | None
    expand: float | None = None
    se: bool = False
    act: str = "relu"
    side: Resolution | None = None

    def __str__(self) -> str:
        return _label(self)


class Site(_Part):
    """The site of an exit: the stage's number from 0, and the number of blocks before it (None: the stage's end).

    With `in_cell`, the cell's number from 0 and the number of its node (None: the last).
    """

    stage: int
    block: int | None = None
    in_cell: bool = False

    @property
    def name(self) -> str:
        """The name used in YAML, numbered from 1."""
        whole, part = ("cell", "node") if self.in_cell else ("stage", "block")
        return f"{whole}{self.stage + 1}" + ("" if self.block is None else f".{part}{self.block}")


class Exit(_Part):
    """An exit that is present: the fields of its `Site`, and its branch.

    `pool` is the global pooling before the branch's linear layer.
    """

    stage: int
    block: int | None
    layers: tuple[BranchLayer, ...]
    pool: str = "avg"
    in_cell: bool = False

    @property
    def site(self) -> Site:
        """Its site."""
        return Site(stage=self.stage, block=self.block, in_cell=self.in_cell)


class Stem(_Part):
    """The first convolution."""

    width: int
    kernel: int
    stride: int
    act: str = "relu"


class Architecture(_Part):
    """Everything that defines a network except its weights and policy; equal networks have equal `id`s.

    Networks are equal if they consist of the same nodes. The backbone is either `stages` or `cells`. `exits` are sorted
    from shallow to deep and omit the final classifier, which every network has. `image_size` is the input images' size
    where they are resized to `resolution`. `controller` is the width of the small network that selects, for each image,
    the op of every edge that has several (0: there is none). `stop_heads`: every early exit has a stop head. `boosted`:
    the logits of every exit are its own and half of the previous exit's. Raises ValueError for two backbones or none,
    where an edge has several ops but there is no controller, or the reverse, and for a boosted network without early
    exits.
    """

    channels: int
    resolution: Resolution
    classes: int
    stem: Stem
    stages: tuple[Stage, ...] = ()
    exits: tuple[Exit, ...]
    image_size: Resolution | None = None
    cells: tuple[Cell, ...] = ()
    controller: int = 0
    stop_heads: bool = False
    boosted: bool = False

    @model_validator(mode="after")
    def _one_backbone(self) -> "Architecture":
        if bool(self.stages) == bool(self.cells):
            raise ValueError("an architecture must have either stages or cells")
        if self.adaptive != (self.controller > 0):
            raise ValueError("an architecture must have a controller if and only if an edge has several ops")
        if self.boosted and not self.exits:
            raise ValueError("an architecture must have an early exit to be boosted, but got none")
        return self

    @property
    def adaptive(self) -> bool:
        """Whether some edge has several ops, one of which is selected for each image."""
        return any(len(edge.ops) > 1 for cell in self.cells for edge in cell.edges)

    @property
    def parts(self) -> "Sequence[Stage | Cell]":
        """Its stages, or its cells."""
        return self.stages or self.cells

    @property
    def image_shape(self) -> Shape:
        """Shape of the images fed in, (c, h, w)."""
        size = self.image_size or self.resolution
        return self.channels, size.height, size.width

    @cached_property
    def id(self) -> str:
        """Ten hexadecimal digits of a hash over the canonical JSON form."""
        # ids name files in the runs of earlier versions, so the hash is of the fields' original names
        first = with_present_names(self.to_json(), first_names(RENAMED))
        text = json.dumps(first, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary.

        Fields at their default are left out, so the ids in old results stay valid when a field is added.
        """
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Architecture":
        """Read what `to_json` wrote; raises pydantic's ValidationError (a ValueError) for anything else."""
        return cls.model_validate(with_present_names(value, RENAMED))

    def __str__(self) -> str:
        """One line for output: width and blocks of each stage, exits with their branch layers."""
        texts = [
            f"{part.width}{'/' + str(part.stride) if part.stride > 1 else ''}:" + ",".join(map(str, part.contents))
            for part in self.parts
        ]
        runs = [(text, len(list(alike))) for text, alike in groupby(texts)]
        backbone = " ".join(f"{count} x {text}" if count > 1 else text for text, count in runs)
        exits = " ".join(
            f"@{e.stage + 1}{'' if e.block is None else f'.{e.block}'}"
            f"[{','.join(map(str, e.layers))}]{'' if e.pool == 'avg' else e.pool}"
            for e in self.exits
        )
        size = "" if self.image_size is None else f"{self.resolution}px "
        more = (f" | controller {self.controller}" if self.controller else "") + (" | stop heads" * self.stop_heads)
        more += " | boosted" * self.boosted
        return f"{size}{self.stem.width} | {backbone} | {exits or 'no early exit'}{more}"


def _label(part: Block | BranchLayer) -> str:
    """Op, kernel and all that isn't at its default: `mbconv5e4-se-hswish`, `resize+conv3x2@8`."""
    width, side = (part.width, part.side) if isinstance(part, BranchLayer) else (None, None)
    return (
        f"{part.op}{part.kernel or ''}"
        + (f"x{width:g}" if width else "")
        + (f"e{part.expand:g}" if part.expand else "")
        + ("-se" if part.se else "")
        + (f"-{part.act}" if part.act != "relu" else "")
        + (f"@{side}" if side else "")
    )
