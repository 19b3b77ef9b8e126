"""The definition of an op of a Graph: a module with its shape rule and its cost rule. The ops are in `ops.OPS`.

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

    `module` is the class, or its path in this package (`blocks.Conv`), which is imported at its first use. The
    attributes determine which choices of a space are active for the op: one that takes `expand` receives the block's
    expansion; for one that doesn't, that gene is inactive. `needs` must be given, `options` have a default.
    `many_inputs`: the op takes more than one input. An op with other special behaviour is a subclass.
    """

    module: str | type[nn.Module]
    out_shape: ShapeRule
    counts: CountRule
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    many_inputs: bool = False

    depends_on_sample: ClassVar[bool] = False
    """Whether one of several candidates is selected per sample, so that the cost depends on the sample."""

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
        """The ops that can run for a sample where the op `name` has these attributes; None where nothing runs.

        An ordinary op is its own single candidate. For an op that depends on the sample every candidate reads the first
        input.
        """
        return ((name, attrs),)


class OpaqueOp(Op):
    """An imported module; a Graph only has what its node states: output shape, counts, memory."""

    def build(self, **attrs: Any) -> nn.Module:
        """Raises ValueError: the caller that builds the network must pass the module."""
        raise ValueError("an imported module must be passed to its network; it cannot be built from attributes")


def stated_shape(shapes: object, **attrs: Any) -> Shape:
    """Shape rule of imported modules: the shape that their node states."""
    channels, height, width = attrs["out_shape"]
    return channels, height, width


def stated_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    """Cost rule of imported modules: the counts measured at the import."""
    return Counts(attrs["macs"], attrs["params"], attrs["norm_channels"])
