"""The layers of architectures and of whole spaces: what weight sharing must hold and a device profile measures.

Weights keys name the place and the op, since ops don't share weights with each other. Variants of one op do:
activations, and squeeze-excite, whose own weights are simply absent from the plain variant. (A gate is about
one half before training, a factor that the next batch norm takes out again, so both variants start alike; and
norm statistics are each architecture's own.) The classifier of a branch is shared only among branches of equal
depth and pooling, since it reads features of another kind otherwise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product

from aebnas.core.errors import SpecError
from aebnas.runtime.op import Attr, Attrs, LayerKey
from aebnas.runtime.ops import OPS
from aebnas.runtime.shape_rules import Shape, Unfit
from aebnas.space.architecture import Block, BranchLayer, Stem
from aebnas.space.choices import blocks, branch_layers
from aebnas.space.dag import REDUCTION_KERNEL, DagSpec, is_free
from aebnas.space.fields import CHAIN
from aebnas.space.spec import InputSpec, Site, SpaceSpec, StageSpec, branch_channels

CONTROLLER = "controller_head"
"""Name of the node that gives the controller's output."""


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
        """Where in the network it is, and its op, for people."""
        return self.weights.replace("_", ".")


def make_layer(weights: str, op: str, in_shape: Shape, **offered: Attr | None) -> Layer:
    """A Layer on `in_shape`, with those of the attributes offered that the op takes, input channels included."""
    offered |= {"in_channels": in_shape[0]}
    taken = OPS[op].takes
    attrs = {name: value for name, value in offered.items() if name in taken and value is not None}
    return Layer(weights, op, tuple(sorted(attrs.items())), in_shape)


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


def stem_layers(spec: SpaceSpec, shape: Shape) -> list[Layer]:
    """Everything the stem can be on images of `shape`."""
    stem = spec.stem
    stems = [Stem(width=w, kernel=stem.kernel, stride=stem.stride, act=a) for w, a in product(stem.width, stem.act)]
    return [stem_layer(one, shape) for one in stems]


def block_layer(number: int, index: int, block: Block, shape: Shape, width: int, stride: int) -> Layer:
    """Block `index` of stage `number` (both from 0) on maps of `shape`; `stride` is the stage's."""
    offered = block.model_dump(exclude={"op"}) | {"out_channels": width, "stride": 1 if index else stride}
    return make_layer(f"stage{number + 1}_block{index + 1}_{block.op}", block.op, shape, **offered)


def stage_layers(number: int, stage: StageSpec, shape: Shape, width: int, stride: int) -> list[list[Layer]]:
    """What each block of stage `number` can be on maps of `shape`; the blocks of a place all give one shape."""
    positions: list[list[Layer]] = []
    for index in range(max(stage.depth)):
        with _place(f"stages.{number}" + (f".blocks.{index}" if index < len(stage.blocks) else "")):
            positions.append([block_layer(number, index, b, shape, width, stride) for b in blocks(stage.at(index))])
        shape = positions[-1][0].out_shape
    return positions


def reduction_layer(number: int, shape: Shape, width: int, stride: int) -> Layer | None:
    """The residual block before cell `number` (from 0); None where nothing changes."""
    if (width, stride) == (shape[0], 1):
        return None
    return make_layer(
        f"cell{number + 1}_reduce", "basic", shape, out_channels=width, stride=stride, kernel=REDUCTION_KERNEL
    )


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


def edge_name(number: int, source: int, target: int) -> str:
    """Name of the edge between two nodes of cell `number` (from 0)."""
    return f"cell{number + 1}_edge{source}_{target}"


def is_edge(layer: Layer) -> bool:
    """Whether a layer is an edge of a cell."""
    return "_edge" in layer.weights


def edge_layer(number: int, source: int, target: int, block: Block, shape: Shape) -> Layer:
    """An edge of cell `number` on maps of `shape`, which it keeps; the op must be one that runs something."""
    offered = block.model_dump(exclude={"op"}) | {"out_channels": shape[0], "stride": 1}
    return make_layer(f"{edge_name(number, source, target)}_{block.op}", block.op, shape, **offered)


def edge_layers(number: int, dag: DagSpec, shape: Shape) -> dict[tuple[int, int], list[Layer]]:
    """What each edge of cell `number` can run on maps of `shape`."""
    with _place("dag.ops"):
        running = [block for block in dag.present if not is_free(block)]
        return {pair: [edge_layer(number, *pair, block, shape) for block in running] for pair in dag.pairs}


def branch_stride(side: int) -> int:
    """Stride of a branch layer on a map of this side: 2 (AEBNAS) until little is left to halve."""
    return 2 if side >= 4 else 1


def branch_place(site: Site) -> str:
    """What the names of a branch's layers begin with."""
    return "exit_" + site.name.replace(".", "_")


def branch_chain(site: Site, index: int, layer: BranchLayer, shape: Shape, site_channels: int) -> list[Layer]:
    """Layer `index` (from 0) of the branch at `site` on maps of `shape`: one Layer for each op of its chain."""
    offered = layer.model_dump(exclude={"op", "width"})
    if layer.width is not None:
        offered["out_channels"] = branch_channels(site_channels, layer.width)
    chain: list[Layer] = []
    for op in layer.op.split(CHAIN):
        key = f"{branch_place(site)}_layer{index + 1}_{op}"
        chain.append(make_layer(key, op, shape, **offered, stride=branch_stride(min(shape[1:]))))
        shape = chain[-1].out_shape
    return chain


def branch_head(site: Site, depth: int, pool: str, shape: Shape, classes: int) -> Layer:
    """The classifier of a branch of `depth` layers."""
    key = f"{branch_place(site)}_head_depth{depth}_{pool}"
    return make_layer(key, "classifier", shape, classes=classes, pool=pool)


def branch_heads(spec: SpaceSpec, site: Site, depth: int, shape: Shape) -> list[Layer]:
    """Every classifier that can follow `depth` layers; none where the space has no branch of that depth."""
    choices = spec.branch(site)
    pools = choices.pool if depth in choices.depth else ()
    return [branch_head(site, depth, pool, shape, spec.classes) for pool in pools]


def branch_steps(spec: SpaceSpec, site: Site, index: int, shape: Shape, site_channels: int) -> list[list[Layer]]:
    """Every chain that layer `index` of a branch can be on maps of `shape`; none behind the deepest."""
    choices = spec.branch(site)
    layers = branch_layers(choices) if index < max(choices.depth) else ()
    return [branch_chain(site, index, layer, shape, site_channels) for layer in layers]


def stop_head_layer(site: Site, shape: Shape) -> Layer:
    """The stop head of an exit at `site` on maps of `shape`; see `stop_heads.with_stop_heads`."""
    return make_layer(f"{branch_place(site)}_stop", "classifier", shape, classes=1)


def head_layer(shape: Shape, classes: int) -> Layer:
    """The final classifier."""
    return make_layer("head", "classifier", shape, classes=classes)


def space_layers(spec: SpaceSpec, stop_heads: bool = False) -> set[Layer]:
    """All distinct layers of the space: exactly those its architectures use, not all combinations.

    With `stop_heads` those too that a training adds to every early exit. Raises SpecError with the YAML path
    where some layer cannot run on its map, so a space without an error can be built whole.
    """
    layers: set[Layer] = set()
    for resolution in spec.input.resolution:
        try:
            layers |= _layers_at(spec, resolution, stop_heads)
        except Unfit as error:
            rule = f"{error.rule}, at input.resolution {resolution}, but got {error.value}"
            raise SpecError(error.attribute, rule) from None
    return layers


def _layers_at(spec: SpaceSpec, resolution: int, stop_heads: bool) -> set[Layer]:
    """The layers at one resolution; raises Unfit whose attribute is a YAML path."""
    shape, resizing = input_layers(spec.input, resolution)
    with _place("stem"):
        stems = stem_layers(spec, shape)
    layers = {*resizing, *stems}
    maps = {layer.out_shape for layer in stems}
    for number in range(len(spec.stages) if spec.dag is None else len(spec.dag.stack_of)):
        maps, here = _cell(spec.dag, number, maps) if spec.dag is not None else _stage(spec, number, maps)
        layers |= here
        for site in (site for site in spec.sites() if site.stage == number):
            with _place(f"exits.places.{site.name}" if site.name in spec.exits.places else "exits"):
                for at_site in maps:
                    layers |= _branches(spec, site, at_site)
                    if stop_heads:
                        layers.add(stop_head_layer(site, at_site))
    return layers | {head_layer(at, spec.classes) for at in maps}


def _stage(spec: SpaceSpec, number: int, maps: set[Shape]) -> tuple[set[Shape], set[Layer]]:
    """What stage `number` makes of maps, and its layers."""
    stage = spec.stages[number]
    layers: set[Layer] = set()
    maps_after: set[Shape] = set()
    for in_shape, width, stride in product(maps, stage.width, stage.stride):
        positions = stage_layers(number, stage, in_shape, width, stride)
        layers.update(layer for position in positions for layer in position)
        maps_after.add(positions[0][0].out_shape)
    return maps_after, layers


def _cell(dag: DagSpec, number: int, maps: set[Shape]) -> tuple[set[Shape], set[Layer]]:
    """What cell `number` makes of maps, and its layers."""
    layers: set[Layer] = set()
    maps_after: set[Shape] = set()
    for shape in maps:
        for inside, reduction in cell_inputs(dag, number, shape):
            if reduction is not None:
                layers.add(reduction)
            layers.update(layer for edge in edge_layers(number, dag, inside).values() for layer in edge)
            maps_after.add(inside)
    return maps_after, layers


def cell_inputs(dag: DagSpec, number: int, shape: Shape) -> list[tuple[Shape, Layer | None]]:
    """Every shape that the maps of cell `number` can have behind maps of `shape`, and the layer that makes it."""
    stack, stride = dag.stacks[dag.stack_of[number]], dag.stride_of(number)
    if number and dag.stack_of[number - 1] == dag.stack_of[number]:
        return [(shape, None)]  # as wide as the cell before
    with _place(f"dag.stacks.{dag.stack_of[number]}"):
        layers = [reduction_layer(number, shape, width, stride) for width in stack.width]
    return [(shape if layer is None else layer.out_shape, layer) for layer in layers]


def _branches(spec: SpaceSpec, site: Site, shape: Shape) -> set[Layer]:
    """The distinct layers of all branches that can hang at `site` on maps of `shape`."""
    layers: set[Layer] = set()
    maps = {shape}
    for depth in range(max(spec.branch(site).depth) + 1):
        layers.update(head for at in maps for head in branch_heads(spec, site, depth, at))
        chains = [chain for at in maps for chain in branch_steps(spec, site, depth, at, shape[0])]
        layers.update(layer for chain in chains for layer in chain)
        maps = {chain[-1].out_shape for chain in chains}
    return layers


@contextmanager
def _place(path: str) -> Iterator[None]:
    """Errors from inside with their place in the space's YAML."""
    try:
        yield
    except Unfit as error:
        raise Unfit(f"{path}.{error.attribute}", error.rule, error.value) from None
    except ValueError as error:
        raise SpecError(path, str(error)) from None
