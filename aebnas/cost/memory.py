"""Peak activation memory of a Graph at batch 1, for a sample that leaves at each exit.

It follows `Network.infer` value by value: the values of a segment are held until its exit has decided; then all that no
later segment reads are freed. While an op runs, its temporaries are counted, too; they are recorded by running its
module once on this CPU, so no op needs a rule. (In a larger batch the values of samples that continue are copied, too.)
Scratch memory inside a kernel isn't counted.

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
    """Bytes of an op's result, and the peak beside its inputs while it runs (the result included).

    `returned_input` is the number of the input that an op returns as its result, which then needs no memory of its own.
    """

    result: int
    peak: int
    returned_input: int | None = None


@lru_cache(maxsize=65536)
def op_bytes(op: str, in_shapes: tuple[Shape, ...], attrs: Attrs, dtype: torch.dtype) -> OpBytes:
    """Bytes of one op at batch 1, as its module allocates them; raises UserError for an op without a module."""
    if op not in OPS or op == OPAQUE:
        raise UserError(f"a node of op '{op}' must state peak_bytes, since its memory is unknown, but doesn't")
    with torch.device("meta"):
        module = OPS[op].build(**dict(attrs)).to(dtype).eval()
    module.to_empty(device="cpu")  # the values of the weights have no effect, and drawing them is slow
    inputs = [torch.zeros(1, *shape, dtype=dtype) for shape in in_shapes]
    with torch.no_grad(), LiveTensors() as live:
        result = module(*inputs)
    storage = result.untyped_storage()
    for number, x in enumerate(inputs):
        if x.untyped_storage()._cdata == storage._cdata:
            return OpBytes(0, live.peak_bytes, number)
    return OpBytes(storage.nbytes(), live.peak_bytes)


def peak_memory(graph: Graph, runs_e: Sequence[bool] | None = None, dtype: torch.dtype = torch.float32) -> np.ndarray:
    """Peak bytes of activations for a sample that leaves at each exit, int `[e]`.

    The image is counted. `runs_e` states at which exits samples may leave (not at `never` exits; at the last always);
    one where none may has the peak of what runs up to it. Raises UserError for a node of unknown memory.
    """
    needed_after = _needed_after_each_exit(graph)
    runs = [True] * len(graph.exits) if runs_e is None else [*runs_e[:-1], True]
    image = image_bytes(graph.input_shape, dtype)
    held: dict[str, int] = {INPUT: 0}  # the caller holds the image
    # value -> the value whose memory it uses: an op that returns its input has none of its own
    stored_by = {INPUT: INPUT}
    peak = image
    peaks = []
    for index, step in enumerate(graph.schedule()):
        for node in step.always + (step.optional if runs[index] else ()):
            found = _node_bytes(graph, node, dtype)
            peak = max(peak, image + sum(held.values()) + found.peak)
            if found.returned_input is None:
                stored_by[node.name], held[node.name] = node.name, found.result
            else:
                stored_by[node.name] = stored_by[node.inputs[found.returned_input]]
        peaks.append(peak)
        if not runs[index] or index == len(graph.exits) - 1:
            continue
        stored_by = {name: owner for name, owner in stored_by.items() if name in needed_after[index]}
        held = {owner: held[owner] for owner in stored_by.values()}
    return np.array(peaks, dtype=np.int64)


def image_bytes(shape: Shape, dtype: torch.dtype) -> int:
    """Bytes of the image, which is held all the time. (`infer` itself allocates only a few numbers per sample, while no
    op runs.)"""
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
