"""One layer of an architecture: the unit of building, weight sharing, counting and measuring."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aebnas.core.errors import SpecError
from aebnas.runtime.op import Attr, Attrs, LayerKey
from aebnas.runtime.ops import OPS
from aebnas.runtime.shape_rules import Shape, Unfit


@dataclass(frozen=True)
class Layer:
    """A layer configuration: its shared-weights key, op, attributes, and one sample's input and output shapes.

    Raises ValueError where the op cannot run on `in_shape` (Unfit where an attribute doesn't fit).
    """

    weights: str
    op: str
    attrs: Attrs
    in_shape: Shape
    out_shape: Shape = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        try:
            out_shape = OPS[self.op].out_shape([self.in_shape], **dict(self.attrs))
        except Unfit as error:
            raise Unfit(error.attribute, f"{error.rule} at {self.place}", error.value) from None
        except ValueError as error:
            raise ValueError(f"{self.place}: {error}") from None
        object.__setattr__(self, "out_shape", out_shape)

    @property
    def key(self) -> LayerKey:
        """Op, input shapes and attributes, without the place in the network."""
        return self.op, (self.in_shape,), self.attrs

    @property
    def place(self) -> str:
        """Its position in the network and its op, for messages."""
        return self.weights.replace("_", ".")


def make_layer(weights: str, op: str, in_shape: Shape, **offered: Attr | None) -> Layer:
    """A Layer on `in_shape` with those attributes of `offered` that the op has, and the input channels."""
    offered |= {"in_channels": in_shape[0]}
    taken = OPS[op].takes
    attrs = {name: value for name, value in offered.items() if name in taken and value is not None}
    return Layer(weights, op, tuple(sorted(attrs.items())), in_shape)


@contextmanager
def yaml_place(path: str) -> Iterator[None]:
    """Add the YAML path to errors from inside: ValueError becomes SpecError, Unfit remains Unfit."""
    try:
        yield
    except Unfit as error:
        raise Unfit(f"{path}.{error.attribute}", error.rule, error.value) from None
    except ValueError as error:
        raise SpecError(path, str(error)) from None
