"""Exact counts of a Graph: MACs, parameters and weight bytes, to each exit.

One multiply-add is one MAC; convolutions and linear layers only, as fvcore counts them (batch norm folds away;
activations, pooling, resizing, gating and additions are not counted). Params are trainable parameters. Weight
bytes are the fp32 bytes of a weights file: parameters and batch-norm statistics.

Legend: e exits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from aebnas.errors import UserError
from aebnas.runtime.graph import Graph, Node
from aebnas.runtime.signatures import OPAQUE, Shape, mid_channels, squeezed_channels

BYTES_PER_WEIGHT = 4


class Counts(NamedTuple):
    """Counts of one layer for one sample; `norm_channels` is the number of batch-normed channels."""

    macs: int
    params: int
    norm_channels: int = 0

    def __add__(self, other: object) -> "Counts":
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def weight_bytes(self) -> int:
        """Bytes in fp32: parameters, and a mean and a variance for every normed channel."""
        return BYTES_PER_WEIGHT * (self.params + 2 * self.norm_channels)


Rule = Callable[[Shape, Shape, dict[str, Any]], Counts]
"""(input shape, output shape, attributes) -> counts."""


def conv_norm_counts(in_channels: int, out: Shape, kernel: int, groups: int = 1) -> Counts:
    """A convolution without bias that gives shape `out`, and its batch norm."""
    weights = out[0] * (in_channels // groups) * kernel * kernel
    return Counts(weights * out[1] * out[2], weights + 2 * out[0], out[0])


def _conv(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    return conv_norm_counts(in_shape[0], out, attrs["kernel"])


def _basic(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    counts = conv_norm_counts(in_shape[0], out, attrs["kernel"]) + conv_norm_counts(out[0], out, attrs["kernel"])
    changes = attrs["stride"] != 1 or in_shape[0] != out[0]
    return counts + conv_norm_counts(in_shape[0], out, 1) if changes else counts


def _mbconv(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    mid = mid_channels(in_shape[0], attrs["expand"])
    mid_out = (mid, *out[1:])
    return (
        conv_norm_counts(in_shape[0], (mid, *in_shape[1:]), 1)
        + conv_norm_counts(mid, mid_out, attrs["kernel"], groups=mid)
        + _squeeze_excite(mid, attrs)
        + conv_norm_counts(mid, out, 1)
    )


def _fused_mbconv(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    mid = mid_channels(in_shape[0], attrs["expand"])
    expand = conv_norm_counts(in_shape[0], (mid, *out[1:]), attrs["kernel"])
    return expand + _squeeze_excite(mid, attrs) + conv_norm_counts(mid, out, 1)


def _squeeze_excite(channels: int, attrs: dict[str, Any]) -> Counts:
    if not attrs.get("se", False):
        return Counts(0, 0)
    squeezed = squeezed_channels(channels)
    return Counts(2 * channels * squeezed, 2 * channels * squeezed + squeezed + channels)


def _sepconv(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    channels = in_shape[0]
    depthwise = conv_norm_counts(channels, (channels, *out[1:]), attrs["kernel"], groups=channels)
    return depthwise + conv_norm_counts(channels, out, 1)


def _free(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    return Counts(0, 0)


def _classifier(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    return Counts(in_shape[0] * out[0], (in_shape[0] + 1) * out[0])


def _opaque(in_shape: Shape, out: Shape, attrs: dict[str, Any]) -> Counts:
    """An imported module's counts stand in its node, where whoever imported it measured them."""
    return Counts(attrs["macs"], attrs["params"], attrs["norm_channels"])


RULES: dict[str, Rule] = {
    "conv": _conv,
    "basic": _basic,
    "mbconv": _mbconv,
    "fused_mbconv": _fused_mbconv,
    "sepconv": _sepconv,
    "maxpool": _free,
    "avgpool": _free,
    "resize": _free,
    "add": _free,
    "classifier": _classifier,
    OPAQUE: _opaque,
}


def count_layer(op: str, in_shape: Shape, out_shape: Shape, attrs: dict[str, Any]) -> Counts:
    """Counts of one layer; raises UserError for an op without a rule, since unknown is not zero."""
    if op not in RULES:
        raise UserError(f"cost of op '{op}' is unknown; add a rule to RULES in aebnas/cost/counts.py")
    return RULES[op](in_shape, out_shape, attrs)


@dataclass(frozen=True)
class ExitCosts:
    """One additive cost of a Graph: `backbone_e` up to each exit's site (cumulative), `branch_e` of each branch."""

    backbone_e: tuple[float, ...]
    branch_e: tuple[float, ...]

    @property
    def total(self) -> float:
        """Everything: the whole backbone and every branch."""
        return self.backbone_e[-1] + sum(self.branch_e)

    def to_exit(self, runs_e: np.ndarray | None = None) -> np.ndarray:
        """Cost of a sample that leaves at each exit, branches it passed included, `[..., e]`.

        `runs_e` (bool, `[..., e]`) says which branches run at all; `never` exits' don't.
        """
        branch = np.asarray(self.branch_e)
        passed = branch if runs_e is None else branch * runs_e
        return np.asarray(self.backbone_e) + np.cumsum(passed, axis=-1)

    @property
    def taken_only(self) -> np.ndarray:
        """Cost if only the branch taken is charged (the convention of NACHOS and EDANAS), `[e]`."""
        return np.asarray(self.backbone_e) + np.asarray(self.branch_e)


@dataclass(frozen=True)
class GraphCounts:
    """MACs, params and weight bytes of a Graph, each to every exit."""

    macs: ExitCosts
    params: ExitCosts
    weight_bytes: ExitCosts


def count_graph(graph: Graph) -> GraphCounts:
    """Count every node once; raises UserError for an op without a rule."""
    backbone, branch, so_far = [], [], Counts(0, 0)
    for segment in graph.segments():
        so_far = so_far + _sum(graph, segment.backbone)
        backbone.append(so_far)
        branch.append(_sum(graph, segment.branch))

    def exit_costs(measure: Callable[[Counts], int]) -> ExitCosts:
        return ExitCosts(tuple(map(measure, backbone)), tuple(map(measure, branch)))

    return GraphCounts(
        macs=exit_costs(lambda c: c.macs),
        params=exit_costs(lambda c: c.params),
        weight_bytes=exit_costs(lambda c: c.weight_bytes),
    )


def _sum(graph: Graph, nodes: tuple[Node, ...]) -> Counts:
    total = Counts(0, 0)
    for node in nodes:
        total = total + count_layer(node.op, graph.shapes[node.inputs[0]], graph.shapes[node.name], node.kwargs)
    return total
