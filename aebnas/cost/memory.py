"""Peak activation memory of a Graph at batch 1, for a sample that leaves at each exit.

It follows `Network.infer` value by value: what a segment computes is kept until its exit has decided; then all that no
later segment reads is freed. While an op runs, its temporaries count, too; they are found by running its module once on
this CPU, so any op has them without a rule. (Of a larger batch the values of those that go on are copied as well.)
Scratch space inside a kernel isn't counted.

Legend: e exits.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from aebnas.core.errors import UserError
from aebnas.cost.live_tensors import LiveTensors
from aebnas.runtime.graph import INPUT, Graph, Node
from aebnas.runtime.network import _needed_after_each_exit
from aebnas.runtime.op import Attrs
from aebnas.runtime.ops import OPAQUE, OPS
from aebnas.runtime.shape_rules import Shape


class OpBytes(NamedTuple):
    """Bytes an op's result takes, and the most that is alive beside its inputs while it runs (the result included).

    `hands_on` is the number of the input that an op returns as its result, which then needs no memory of its own.
    """

    result: int
    peak: int
    hands_on: int | None = None


@lru_cache(maxsize=65536)
def op_bytes(op: str, in_shapes: tuple[Shape, ...], attrs: Attrs, dtype: torch.dtype) -> OpBytes:
    """Bytes of one op at batch 1, as its module allocates them; raises UserError for an op without a module."""
    if op not in OPS or op == OPAQUE:
        raise UserError(f"memory of op '{op}' is unknown; its node must state peak_bytes")
    with torch.device("meta"):
        module = OPS[op].build(**dict(attrs)).to(dtype).eval()
    module.to_empty(device="cpu")  # what the weights are doesn't matter, drawing them takes time
    inputs = [torch.zeros(1, *shape, dtype=dtype) for shape in in_shapes]
    with torch.no_grad(), LiveTensors() as live:
        result = module(*inputs)
    storage = result.untyped_storage()
    for number, x in enumerate(inputs):
        if x.untyped_storage()._cdata == storage._cdata:
            return OpBytes(0, live.peak_bytes, number)
    return OpBytes(storage.nbytes(), live.peak_bytes)


def peak_memory(graph: Graph, runs_e: Sequence[bool] | None = None, dtype: torch.dtype = torch.float32) -> np.ndarray:
    """Most bytes of activations alive at once for a sample that leaves at each exit, int `[e]`.

    The image itself counts. `runs_e` says which branches run at all (`never` exits' don't; the last always does);
    an exit whose branch doesn't run has the peak of the exits before it. Raises UserError for a node whose memory isn't
    known.
    """
    needed_after = _needed_after_each_exit(graph)
    runs = [True] * len(graph.exits) if runs_e is None else [*runs_e[:-1], True]
    image = image_bytes(graph.input_shape, dtype)
    held: dict[str, int] = {INPUT: 0}  # the caller holds the image
    stored_by = {INPUT: INPUT}  # of each value the one whose memory it is: what returns its input has none of its own
    peak = image
    peaks = []
    for index, segment in enumerate(graph.segments()):
        for node in segment.backbone + (segment.branch if runs[index] else ()):
            found = _node_bytes(graph, node, dtype)
            peak = max(peak, image + sum(held.values()) + found.peak)
            if found.hands_on is None:
                stored_by[node.name], held[node.name] = node.name, found.result
            else:
                stored_by[node.name] = stored_by[node.inputs[found.hands_on]]
        peaks.append(peak)
        if not runs[index] or index == len(graph.exits) - 1:
            continue
        stored_by = {name: owner for name, owner in stored_by.items() if name in needed_after[index]}
        held = {owner: held[owner] for owner in stored_by.values()}
    return np.array(peaks, dtype=np.int64)


def image_bytes(shape: Shape, dtype: torch.dtype) -> int:
    """What the image takes, which is there all the time. (What `infer` itself makes for one sample are a few numbers
    while it decides, when nothing runs.)"""
    return _bytes(shape, dtype)


def _node_bytes(graph: Graph, node: Node, dtype: torch.dtype) -> OpBytes:
    if node.op == OPAQUE and "peak_bytes" in node.kwargs:
        return OpBytes(_value_bytes(graph, node.name, dtype), node.kwargs["peak_bytes"])
    options = [
        op_bytes(one.op, tuple(graph.shapes[name] for name in one.inputs), one.attrs, dtype)
        for one in node.candidates()
        if one is not None
    ]
    if not node.depends_on_sample:
        return options[0]
    zeros = _value_bytes(graph, node.name, dtype)  # the map into which the candidates' results are copied
    each = [OpBytes(zeros, zeros), *options]
    return OpBytes(max(one.result for one in each), max(one.peak for one in each))


def _value_bytes(graph: Graph, name: str, dtype: torch.dtype) -> int:
    return _bytes(graph.shapes[name], dtype)


def _bytes(shape: Shape, dtype: torch.dtype) -> int:
    return int(np.prod(shape)) * dtype.itemsize
