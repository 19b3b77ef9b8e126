"""Elastic layers by slicing: the parameters of any op are slices of the largest ones at its position.

Channels are taken from the front, kernels from the centre (Once-for-All, Cai et al. 2020, without its kernel
transforms). The rule depends on shapes only, so every op of `runtime/ops` is elastic without code of its own.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from aebnas.runtime.op import Attr, Attrs
from aebnas.runtime.ops import OPS
from aebnas.space.layer import Layer

Shapes = Mapping[str, tuple[int, ...]]
"""Parameter name -> shape."""


@lru_cache(maxsize=65536)
def parameter_shapes(op: str, attrs: Attrs) -> Shapes:
    """Shapes of an op's parameters."""
    with torch.device("meta"):
        module = OPS[op].build(**dict(attrs))
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def shared_shapes(layers: Iterable[Layer]) -> dict[str, dict[str, tuple[int, ...]]]:
    """For each weights key, the elementwise largest shape of each parameter over all layers that use it.

    Variants of an op may lack parameters (squeeze-excite); the order of names doesn't depend on that of `layers`.
    """
    largest: dict[str, dict[str, tuple[int, ...]]] = {}
    for layer in sorted(layers, key=_order):
        shapes = largest.setdefault(layer.weights, {})
        for name, shape in parameter_shapes(layer.op, layer.attrs).items():
            known = shapes.get(name, shape)
            shapes[name] = tuple(max(a, b) for a, b in zip(known, shape, strict=True))
    return largest


def _order(layer: Layer) -> tuple[str, list[tuple[str, tuple[Attr, ...]]]]:
    """By weights key and attributes, of which the side of a `resize` may be one number or two."""
    attrs = [(name, value if isinstance(value, tuple) else (value,)) for name, value in layer.attrs]
    return layer.weights, attrs


def slice_to(parameter: Tensor, shape: tuple[int, ...]) -> Tensor:
    """View of `parameter` of this shape: the first channels (dimensions 0 and 1), the kernel's centre (later ones)."""
    for dim, size in enumerate(shape):
        if parameter.shape[dim] != size:
            start = (parameter.shape[dim] - size) // 2 if dim >= 2 else 0
            parameter = parameter.narrow(dim, start, size)
    return parameter


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Initialise all parameters: weights uniform in +-1 / sqrt(fan-in) (PyTorch's default), norms the identity.

    Works on any module whose parameter names end in `weight` and `bias`.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                bound = parameter[0].numel() ** -0.5
                parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
