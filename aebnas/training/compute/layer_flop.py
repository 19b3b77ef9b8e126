"""FLOP of one layer for one image in a training step: 2 for each multiply-add (MAC) of the forward pass, 2 for that of
the gradient of its weights and 2 for that of its input, each only where autograd computes it.

Counted as costs are: convolutions and linear layers only. Which gradients a layer's convolutions compute is read from a
forward pass of the layer itself, so a new op needs no rule of its own.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aebnas.cost.counts import count_layer
from aebnas.runtime.op import Attrs
from aebnas.runtime.ops import OPAQUE, OPS
from aebnas.runtime.shape_rules import Shape

FLOP_PER_MAC = 2
"""A multiplication and an addition."""


class LayerFlop(NamedTuple):
    """FLOP for one image of the forward pass and of the backward pass, if the loss depends on the layer.

    `needs_gradient` is whether the layer's output does; `reaches` whether the gradient reaches each input.
    """

    forward: float
    backward: float
    needs_gradient: bool
    reaches: tuple[bool, ...]


@lru_cache(maxsize=65536)
def layer_flop(
    op: str, attrs: Attrs, in_shapes: tuple[Shape, ...], gradients: tuple[bool, ...], frozen: frozenset[str]
) -> LayerFlop:
    """The FLOP of an op with these attributes and input shapes.

    `gradients` is whether each input needs a gradient, `frozen` names the parameters that don't. Raises UserError for
    an op without a cost rule, ValueError for shapes that the op can't have.
    """
    counts = count_layer(op, in_shapes[0], out_shape(op, attrs, in_shapes) if op in OPS else in_shapes[0], dict(attrs))
    forward = FLOP_PER_MAC * counts.macs
    if op == OPAQUE:  # its inner layers aren't known: all of them are taken to compute the same gradients
        trains = counts.params > 0 and not frozen
        backward = forward * trains + forward * any(gradients)
        return LayerFlop(forward, backward, trains or any(gradients), gradients)
    traced = _trace(op, attrs, in_shapes, gradients, frozen)
    # multiply-adds outside of torch's layers: they are taken to compute every gradient that the layer's parts do
    rest = max(0, counts.macs - traced.macs)
    both = any(gradients) + any(name not in frozen for name in traced.parameters)
    return LayerFlop(
        forward, FLOP_PER_MAC * (traced.gradient_macs + both * rest), traced.needs_gradient, traced.reaches
    )


def out_shape(op: str, attrs: Attrs, in_shapes: Sequence[Shape]) -> Shape:
    """The shape of an op's output, also for a kernel that a space refuses since it is larger than its map.

    Such a one may run where images are smaller in training. Raises ValueError for other shapes that don't fit.
    """
    given = dict(attrs)
    try:
        return OPS[op].out_shape(list(in_shapes), **given)
    except ValueError:
        if given.get("kernel", 1) == 1:
            raise
        return OPS[op].out_shape(list(in_shapes), **given | {"kernel": 1})


class _Traced(NamedTuple):
    macs: int
    gradient_macs: int
    parameters: tuple[str, ...]
    needs_gradient: bool
    reaches: tuple[bool, ...]


def _trace(
    op: str, attrs: Attrs, in_shapes: Sequence[Shape], gradients: Sequence[bool], frozen: frozenset[str]
) -> _Traced:
    with torch.device("meta"):  # no weights are drawn
        module = OPS[op].build(**dict(attrs))
    module = module.to_empty(device="cpu").eval()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in frozen)
    inputs = [torch.zeros(1, *shape).requires_grad_(needed) for shape, needed in zip(in_shapes, gradients, strict=True)]
    with torch.enable_grad(), traced_macs(module) as macs:
        out = module(*inputs)
        reaches = tuple(gradients)
        if OPS[op].many_inputs and any(gradients):  # one of several may be detached
            needed = [value for value in inputs if value.requires_grad]
            found = iter(torch.autograd.grad(out.sum(), needed, allow_unused=True) if out.requires_grad else ())
            reaches = tuple(value.requires_grad and next(found, None) is not None for value in inputs)
    weights = tuple(sorted(name for name, parameter in module.named_parameters() if parameter.ndim > 1))
    return _Traced(macs.forward, macs.gradients, weights, bool(out.requires_grad), reaches)


@dataclass
class TracedMacs:
    """MACs of a forward pass, and those of the gradients that autograd computes if the loss depends on all of it."""

    forward: int = 0
    gradients: int = 0

    @property
    def flop(self) -> int:
        """FLOP of both."""
        return FLOP_PER_MAC * (self.forward + self.gradients)


def module_flop(module: nn.Module, shape: Sequence[int], *more: Any) -> int:
    """FLOP for one image of this `shape` of a training step in which all outputs of a module are in the loss.

    Parameters train where they require a gradient. `more` are further arguments of the module, which is left unchanged.
    """
    alone = copy.deepcopy(module).cpu().eval()
    with torch.enable_grad(), traced_macs(alone) as macs:
        alone(torch.zeros(1, *shape), *more)
    return macs.flop


@contextmanager
def traced_macs(module: nn.Module) -> Iterator[TracedMacs]:
    """The MACs of the convolutions and linear layers in a module's forward passes inside this context."""
    macs = TracedMacs()

    def count(layer: nn.Module, inputs: tuple[Any, ...], out: Tensor) -> None:
        weight: Any = layer.weight
        own = out.numel() * weight[0].numel()
        macs.forward += own
        macs.gradients += own * (bool(inputs[0].requires_grad) + bool(weight.requires_grad))

    with ExitStack() as stack:
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                stack.callback(part.register_forward_hook(count).remove)
        yield macs
