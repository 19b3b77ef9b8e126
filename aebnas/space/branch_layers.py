"""The layers of exits: branches, classifiers, stop heads, sums of boosted logits."""

from itertools import product

from aebnas.runtime.op import LayerKey
from aebnas.runtime.ops import BOOST
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import BranchLayer, Site
from aebnas.space.branch_spec import branch_channels
from aebnas.space.choices import branch_layers
from aebnas.space.fields import CHAIN
from aebnas.space.layer import Layer, make_layer
from aebnas.space.spec import SpaceSpec

BOOSTED = "_boosted"
"""Ends the weights keys of boosted networks' classifiers, whose logits are added to those of other exits."""


def branch_stride(shape: Shape) -> int:
    """Stride of a branch layer on a map of this shape: 2 (AEBNAS), and 1 where its shorter side is below 4."""
    return 2 if min(shape[1:]) >= 4 else 1


def branch_place(site: Site) -> str:
    """Prefix of the names of a branch's layers."""
    return "exit_" + site.name.replace(".", "_")


def branch_chain(site: Site, index: int, layer: BranchLayer, shape: Shape, site_channels: int) -> list[Layer]:
    """Layer `index` (from 0) of the branch at `site` on maps of `shape`: one Layer for each op of its chain."""
    offered = layer.model_dump(exclude={"op", "width"})
    if layer.side is not None:
        offered["side"] = layer.side.attr
    if layer.width is not None:
        offered["out_channels"] = branch_channels(site_channels, layer.width)
    chain: list[Layer] = []
    for op in layer.op.split(CHAIN):
        key = f"{branch_place(site)}_layer{index + 1}_{op}"
        chain.append(make_layer(key, op, shape, **offered, stride=branch_stride(shape)))
        shape = chain[-1].out_shape
    return chain


def branch_head(site: Site, depth: int, pool: str, shape: Shape, classes: int, boosted: bool = False) -> Layer:
    """The classifier of a branch of `depth` layers, of a `boosted` network or not."""
    key = f"{branch_place(site)}_head_depth{depth}_{pool}{BOOSTED * boosted}"
    return make_layer(key, "classifier", shape, classes=classes, pool=pool)


def branch_heads(spec: SpaceSpec, site: Site, depth: int, shape: Shape) -> list[Layer]:
    """Every classifier that may follow `depth` layers; none where the space has no branch of that depth."""
    choices = spec.branch(site)
    pools = choices.pool if depth in choices.depth else ()
    return [
        branch_head(site, depth, pool, shape, spec.classes, boosted)
        for pool, boosted in product(pools, spec.exits.boosted)
    ]


def branch_steps(spec: SpaceSpec, site: Site, index: int, shape: Shape, site_channels: int) -> list[list[Layer]]:
    """Every chain of layers that may be layer `index` of a branch on maps of `shape`; none after the deepest."""
    choices = spec.branch(site)
    layers = branch_layers(choices) if index < max(choices.depth) else ()
    return [branch_chain(site, index, layer, shape, site_channels) for layer in layers]


def branch_layers_at(spec: SpaceSpec, site: Site, shape: Shape) -> set[Layer]:
    """The distinct layers of all branches that may be attached at `site` on maps of `shape`."""
    layers: set[Layer] = set()
    maps = {shape}
    for depth in range(max(spec.branch(site).depth) + 1):
        layers.update(head for at in maps for head in branch_heads(spec, site, depth, at))
        chains = [chain for at in maps for chain in branch_steps(spec, site, depth, at, shape[0])]
        layers.update(layer for chain in chains for layer in chain)
        maps = {chain[-1].out_shape for chain in chains}
    return layers


def stop_head_layer(site: Site, shape: Shape) -> Layer:
    """The stop head of an exit at `site` on maps of `shape`; see `stop_heads.with_stop_heads`."""
    return make_layer(f"{branch_place(site)}_stop", "classifier", shape, classes=1)


def head_layer(shape: Shape, classes: int, boosted: bool = False) -> Layer:
    """The final classifier, of a `boosted` network or not."""
    return make_layer(f"head{BOOSTED * boosted}", "classifier", shape, classes=classes)


def boost_key(classes: int) -> LayerKey:
    """The layer key of the sum of two exits' logits in a boosted network."""
    return BOOST, ((classes, 1, 1),) * 2, ()
