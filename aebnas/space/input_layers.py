"""The layers whose input is the image: resizing, stem, controller."""

from itertools import product

from aebnas.core.resolution import Resolution
from aebnas.runtime.op import Attr
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Stem
from aebnas.space.branch_layers import branch_stride
from aebnas.space.input_spec import InputSpec, StemSpec
from aebnas.space.layer import Layer, make_layer

CONTROLLER = "controller_head"
"""Name of the node whose output is the controller's."""


def input_layers(pixels: InputSpec, resolution: Resolution) -> tuple[Shape, list[Layer]]:
    """Shape of the stem's input, and the layer that resizes images to it, if one is needed."""
    if resolution == pixels.size:
        return pixels.shape, []
    layer = resize_layer(pixels.shape, resolution)
    return layer.out_shape, [layer]


def resize_layer(shape: Shape, resolution: Resolution) -> Layer:
    """The layer that resizes images of `shape`."""
    return make_layer("resize", "resize", shape, side=resolution.attr)


def stem_layer(stem: Stem, shape: Shape) -> Layer:
    """The stem on images of `shape`."""
    return make_layer("stem", "conv", shape, out_channels=stem.width, **stem.model_dump(exclude={"width"}))


def stem_layers(stem: StemSpec, shape: Shape) -> list[Layer]:
    """Every stem of the space on images of `shape`."""
    stems = [Stem(width=w, kernel=stem.kernel, stride=stem.stride, act=a) for w, a in product(stem.width, stem.act)]
    return [stem_layer(one, shape) for one in stems]


def controller_layers(shape: Shape, width: int, outputs: int) -> list[Layer]:
    """The controller on images of `shape`: two convolutions of stride 2 and a linear layer; the last is `CONTROLLER`.

    The layers of the published method aren't known; these are the smallest whose output depends on the whole image.
    """
    layers: list[Layer] = []
    for number in (1, 2):
        attrs: dict[str, Attr] = {"out_channels": number * width, "kernel": 3, "stride": branch_stride(shape)}
        layers.append(make_layer(f"controller_conv{number}", "conv", shape, **attrs))
        shape = layers[-1].out_shape
    return [*layers, make_layer(CONTROLLER, "classifier", shape, classes=outputs)]
