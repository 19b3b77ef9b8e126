"""What an op of a Graph is: a module with its shape rule and its cost rule. The ops themselves are in `ops.OPS`.

Imports no torch before a module is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from .cost_rules import CountRule, Counts
from .shape_rules import Shape, ShapeRule

if TYPE_CHECKING:
    from torch import nn

Attr = int | float | str | tuple["Attr", ...]
"""An attribute's value. Tuples may be nested: the candidates of a `choice` are pairs of a name and attributes."""
Attrs = tuple[tuple[str, Attr], ...]
"""Attributes as pairs sorted by name, so that they can be hashed."""
Candidate = tuple[str, Attrs]
"""An op's name and its attributes."""
LayerKey = tuple[str, tuple[Shape, ...], Attrs]
"""A layer configuration: op, shapes of its inputs, attributes. Equal keys cost the same."""


@dataclass(frozen=True)
class Op:
    """A module with its shape rule, its cost rule and its attributes, the arguments of its constructor.

    `module` is the class, or its place in this package (`blocks.Conv`), which is imported at its first use. The
    attributes say which choices of a space are active for the op: one that takes `expand` is given the block's
    expansion, one that doesn't leaves that gene inactive. `needs` must be given, `options` have a default.
    `many_inputs`: the op takes more than one input. An op that needs more than that is a subclass.
    """

    module: str | type[nn.Module]
    out_shape: ShapeRule
    counts: CountRule
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    many_inputs: bool = False

    depends_on_sample: ClassVar[bool] = False
    """Whether each sample is given one of several candidates, so that its cost depends on the sample."""

    @cached_property
    def takes(self) -> frozenset[str]:
        """Names of all attributes."""
        return frozenset(self.needs + self.options)

    @cached_property
    def kind(self) -> type[nn.Module]:
        """The module's class."""
        if not isinstance(self.module, str):
            return self.module
        file, _, name = self.module.rpartition(".")
        return getattr(import_module(f".{file}", __package__), name)

    def build(self, **attrs: Any) -> nn.Module:
        """A module with these attributes."""
        return self.kind(**attrs)

    def candidates(self, name: str, attrs: Attrs) -> tuple[Candidate | None, ...]:
        """What can run for a sample where the op, known as `name`, has these attributes; None for nothing at all.

        An ordinary op is its own single candidate. Of an op that depends on the sample every candidate reads the first
        input.
        """
        return ((name, attrs),)


class OpaqueOp(Op):
    """An imported module of which a Graph knows only what its node states: output shape, counts, memory."""

    def build(self, **attrs: Any) -> nn.Module:
        """Raises ValueError: whoever builds the network has the module."""
        raise ValueError("an imported module must be given with its network; it cannot be built from attributes")


def stated_shape(shapes: object, **attrs: Any) -> Shape:
    """Shape rule of imported modules: as their node states it."""
    channels, height, width = attrs["out_shape"]
    return channels, height, width


def stated_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    """Cost rule of imported modules: counts as measured at the import."""
    return Counts(attrs["macs"], attrs["params"], attrs["norm_channels"])
