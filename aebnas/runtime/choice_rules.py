"""The candidates of an edge whose op depends on the image (`choice`): its shape and cost rules.

A candidate is an op's name and its attributes; `identity` and `zero` run nothing. Imports no torch.
"""

from collections.abc import Sequence
from typing import Any

from .cost_rules import Counts
from .shape_rules import Shape

ZERO = "zero"
"""An edge that isn't there; of a `choice` the candidate that gives zeros."""
IDENTITY = "identity"
"""An edge that hands on what it gets."""
FREE = (ZERO, IDENTITY)
"""What edges can be that runs nothing."""


def choice_shape(shapes: Sequence[Shape], **attrs: Any) -> Shape:
    """Rule of `choice`: that of its first input, which every candidate keeps; the second is the controller's output."""
    from .ops import OPS

    if len(shapes) != 2:
        raise ValueError(f"choice needs a map and the controller's output, but got {len(shapes)} inputs")
    last = attrs["start"] + len(attrs["ops"])
    if not attrs["ops"] or shapes[1][0] < last:
        raise ValueError(f"choice needs {last} numbers of the controller, but got {shapes[1][0]}")
    for name, given in attrs["ops"]:
        if name not in FREE and OPS[name].out_shape(shapes[:1], **dict(given)) != shapes[0]:
            raise ValueError(f"choice needs ops that keep the shape {shapes[0]}, but got {name}")
    return shapes[0]


def choice_counts(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    """Weights of all candidates, and the MACs of the costliest: what an image costs at most."""
    from .ops import OPS

    each = [OPS[op].counts(in_shape, out, dict(given)) for op, given in attrs["ops"] if op not in FREE]
    kept = sum((one.params for one in each), start=len(attrs["ops"]))
    return Counts(max((one.macs for one in each), default=0), kept, sum(one.norm_channels for one in each))
