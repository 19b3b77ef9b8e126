"""The second opinion on FLOP: torch's counter over real forward and backward passes."""

import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

BACKWARD = torch.ops.aten.convolution_backward


def _convolution_backward(
    grad_shape: Any, x_shape: Any, w_shape: Any, *others: Any, out_shape: Any = None, **more: Any
) -> int:
    """2 FLOP a MAC for the gradient of the input and of the weights, each where it is computed.

    Torch's own rule charges the weights of a convolution in g groups g times.
    """
    input_needed, weight_needed, _ = others[7]
    macs = math.prod(w_shape) * grad_shape[0] * math.prod(grad_shape[2:])
    return 2 * macs * (bool(input_needed) + bool(weight_needed))


def torch_counter() -> FlopCounterMode:
    """A context manager that counts the FLOP of everything that torch computes inside."""
    return FlopCounterMode(display=False, custom_mapping={BACKWARD: _convolution_backward})


def layers_of(counter: FlopCounterMode) -> int:
    """What it counted in convolutions and linear layers; the rest are sums of logits or costs under mixture weights."""
    return counter.get_total_flops() - counter.get_flop_counts()["Global"].get(torch.ops.aten.bmm, 0)
