"""Every distinct layer a space can produce: what weight sharing must hold and what a device profile measures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from aebnas.runtime.graph import Attr
from aebnas.runtime.ops import OPS, Shape
from aebnas.space.lower import branch_stride
from aebnas.space.spec import (
    BRANCH_OPS_WITH_WIDTH,
    OPS_WITH_EXPANSION,
    Site,
    SpaceSpec,
    StageSpec,
    branch_channels,
)


@dataclass(frozen=True)
class Layer:
    """A layer configuration: its shared-weights key, op, attributes, and one sample's input and output shapes.

    Raises ValueError where the op cannot run on `in_shape`.
    """

    weights: str
    op: str
    attrs: tuple[tuple[str, Attr], ...]
    in_shape: Shape
    out_shape: Shape = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        try:
            out_shape = OPS[self.op].out_shape([self.in_shape], **dict(self.attrs))
        except ValueError as error:
            raise ValueError(f"{self.weights.replace('_', '.')}: {error}") from None
        object.__setattr__(self, "out_shape", out_shape)


def make_layer(weights: str, op: str, in_shape: Shape, **attrs: Attr) -> Layer:
    """A Layer on `in_shape`, with its input channels filled in where the op has them."""
    if OPS[op].sees_channels:
        attrs["in_channels"] = in_shape[0]
    return Layer(weights, op, tuple(sorted(attrs.items())), in_shape)


def space_layers(spec: SpaceSpec) -> set[Layer]:
    """All distinct layers of the space: exactly those its architectures use, not all combinations.

    Raises ValueError where some layer cannot run on its map, so a space without an error can be built whole.
    """
    layers = set(stem_layers(spec))
    maps = {layer.out_shape for layer in layers}
    for number, stage in enumerate(spec.stages):
        maps_after: set[Shape] = set()
        for shape, width, stride in product(maps, stage.width, stage.stride):
            first = first_blocks(number, stage, shape, width, stride)
            after = first[0].out_shape
            layers.update(first)
            for index in range(1, max(stage.depth)):
                layers.update(later_blocks(number, stage, after, index))
            for site in spec.sites():
                if site.stage == number:
                    layers.update(branch_layers(spec, site, after))
            maps_after.add(after)
        maps = maps_after
    layers.update(make_layer("head", "classifier", shape, classes=spec.classes) for shape in maps)
    return layers


def stem_layers(spec: SpaceSpec) -> list[Layer]:
    """The stem at each of its widths."""
    shape = (spec.input.channels, spec.input.resolution, spec.input.resolution)
    stem = spec.stem
    return [
        make_layer("stem", "conv", shape, out_channels=width, kernel=stem.kernel, stride=stem.stride)
        for width in stem.width
    ]


def first_blocks(number: int, stage: StageSpec, shape: Shape, width: int, stride: int) -> list[Layer]:
    """What the first block of stage `number` (from 0) can be on maps of `shape`; all give the same shape."""
    return _blocks(f"stage{number + 1}_block1", stage, shape, width, stride)


def later_blocks(number: int, stage: StageSpec, shape: Shape, index: int) -> list[Layer]:
    """What block `index` (from 0, at least 1) can be; shape-preserving."""
    return _blocks(f"stage{number + 1}_block{index + 1}", stage, shape, shape[0], 1)


def _blocks(name: str, stage: StageSpec, shape: Shape, width: int, stride: int) -> list[Layer]:
    return [
        make_layer(f"{name}_{op}", op, shape, out_channels=width, kernel=kernel, stride=stride, **extra)
        for op in stage.op
        if op != "skip"
        for kernel in stage.kernel
        for extra in ([{"expand": expand} for expand in stage.expand] if op in OPS_WITH_EXPANSION else [{}])
    ]


def branches(spec: SpaceSpec, site: Site, shape: Shape) -> Iterator[tuple[Layer, ...]]:
    """Every branch that can hang at `site` on maps of `shape`, as its layers with the classifier last."""
    place = "exit_" + site.name.replace(".", "_")

    def grow(done: tuple[Layer, ...]) -> Iterator[tuple[Layer, ...]]:
        at = done[-1].out_shape if done else shape
        if len(done) in spec.exits.depth:
            key = f"{place}_head_depth{len(done)}"
            yield (*done, make_layer(key, "classifier", at, classes=spec.classes))
        if len(done) < max(spec.exits.depth):
            for layer in _branch_choices(spec, f"{place}_layer{len(done) + 1}", at, shape[0]):
                yield from grow((*done, layer))

    return grow(())


def branch_layers(spec: SpaceSpec, site: Site, shape: Shape) -> set[Layer]:
    """The distinct layers of `branches`, without walking through all of them."""
    place = "exit_" + site.name.replace(".", "_")
    layers: set[Layer] = set()
    maps = {shape}
    for depth in range(max(spec.exits.depth) + 1):
        if depth in spec.exits.depth:
            key = f"{place}_head_depth{depth}"
            layers.update(make_layer(key, "classifier", at, classes=spec.classes) for at in maps)
        if depth < max(spec.exits.depth):
            step = {layer for at in maps for layer in _branch_choices(spec, f"{place}_layer{depth + 1}", at, shape[0])}
            layers |= step
            maps = {layer.out_shape for layer in step}
    return layers


def _branch_choices(spec: SpaceSpec, name: str, at: Shape, site_channels: int) -> list[Layer]:
    stride = branch_stride(min(at[1:]))
    return [
        make_layer(f"{name}_{op}", op, at, kernel=kernel, stride=stride, **extra)
        for op in spec.exits.layer
        for kernel in spec.exits.kernel
        for extra in (
            [{"out_channels": branch_channels(site_channels, factor)} for factor in spec.exits.width]
            if op in BRANCH_OPS_WITH_WIDTH
            else [{}]
        )
    ]
