"""The op `choice`: an edge that selects one of several candidates for each sample, and its shape and cost rules.

A candidate is an op's name and its attributes; `identity` and `zero` run nothing. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .cost_rules import Counts
from .op import Attrs, Candidate, Op
from .shape_rules import Shape

if TYPE_CHECKING:
    from torch import nn

ZERO = "zero"
"""An absent edge; in a `choice` the candidate whose output is zeros."""
IDENTITY = "identity"
"""An edge whose output is its input."""
FREE = (ZERO, IDENTITY)
"""Kinds of edges that run nothing."""


@dataclass(frozen=True)
class ChoiceOp(Op):
    """`choice`, whose candidates are ops of the table `ops`."""

    ops: Mapping[str, Op] = field(default_factory=dict, repr=False, compare=False)

    depends_on_sample: ClassVar[bool] = True

    def build(self, **attrs: Any) -> nn.Module:
        """The module, with a module for each candidate (None for those that run nothing)."""
        return self.kind(
            ops=tuple(
                (name, None if name in FREE else self.ops[name].build(**dict(given))) for name, given in attrs["ops"]
            ),
            start=attrs["start"],
        )

    def candidates(self, name: str, attrs: Attrs) -> tuple[Candidate | None, ...]:
        """The ops that it selects from; None for `identity` and `zero`."""
        offered: Any = dict(attrs)["ops"]
        return tuple(None if op in FREE else (op, given) for op, given in offered)


def choice_op(ops: Mapping[str, Op]) -> ChoiceOp:
    """`choice` over a table of ops, to which ops may be added later."""

    def out_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
        """The shape of the first input, which every candidate keeps; the second is the controller's output."""
        if len(shapes) != 2:
            raise ValueError(f"choice needs a feature map and the controller's output, but got {len(shapes)} inputs")
        last = attrs["start"] + len(attrs["ops"])
        if not attrs["ops"] or shapes[1][0] < last:
            raise ValueError(f"choice needs {last} numbers of the controller, but got {shapes[1][0]}")
        for name, given in attrs["ops"]:
            if name not in FREE and ops[name].out_shape(shapes[:1], **dict(given)) != shapes[0]:
                raise ValueError(f"choice needs ops that keep the shape {shapes[0]}, but got {name}")
        return shapes[0]

    def counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
        """Weights of all candidates and one alpha each, and the MACs of the most expensive candidate."""
        each = [ops[op].counts(in_shape, out, dict(given)) for op, given in attrs["ops"] if op not in FREE]
        params = sum((one.params for one in each), start=len(attrs["ops"]))
        return Counts(max((one.macs for one in each), default=0), params, sum(one.norm_channels for one in each))

    return ChoiceOp("choice.Choice", out_shape, counts, ("ops", "start"), many_inputs=True, ops=ops)
