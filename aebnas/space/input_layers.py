"""The layers that look at the image: resizing, stem, controller."""

from itertools import product

from aebnas.runtime.op import Attr
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Stem
from aebnas.space.branch_layers import branch_stride
from aebnas.space.input_spec import InputSpec, StemSpec
from aebnas.space.layer import Layer, make_layer

CONTROLLER = "controller_head"
"""Name of the node that gives the controller's output."""


def input_layers(pixels: InputSpec, resolution: int) -> tuple[Shape, list[Layer]]:
    """Shape of what the stem sees, and the layer that makes it of the images, if one is needed."""
    shape = (pixels.channels, pixels.side, pixels.side)
    if resolution == pixels.side:
        return shape, []
    layer = resize_layer(shape, resolution)
    return layer.out_shape, [layer]


def resize_layer(shape: Shape, resolution: int) -> Layer:
    """The resizing of images of `shape`."""
    return make_layer("resize", "resize", shape, side=resolution)


def stem_layer(stem: Stem, shape: Shape) -> Layer:
    """The stem on images of `shape`."""
    return make_layer("stem", "conv", shape, out_channels=stem.width, **stem.model_dump(exclude={"width"}))


def stem_layers(stem: StemSpec, shape: Shape) -> list[Layer]:
    """Everything the stem can be on images of `shape`."""
    stems = [Stem(width=w, kernel=stem.kernel, stride=stem.stride, act=a) for w, a in product(stem.width, stem.act)]
    return [stem_layer(one, shape) for one in stems]


def controller_layers(shape: Shape, width: int, outputs: int) -> list[Layer]:
    """The controller on images of `shape`: two convolutions of stride 2 and a linear layer; the last is `CONTROLLER`.

    The published code's layers aren't known; these are as small as they can be and still see the whole image.
    """
    layers: list[Layer] = []
    for number in (1, 2):
        attrs: dict[str, Attr] = {"out_channels": number * width, "kernel": 3, "stride": branch_stride(min(shape[1:]))}
        layers.append(make_layer(f"controller_conv{number}", "conv", shape, **attrs))
        shape = layers[-1].out_shape
    return [*layers, make_layer(CONTROLLER, "classifier", shape, classes=outputs)]
