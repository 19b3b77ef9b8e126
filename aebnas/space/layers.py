"""The layers of whole spaces, which weight sharing stores and a device profile measures.

Weights keys name the position and the op, since ops don't share weights with each other. Variants of one op do:
activations, and squeeze-excite, whose weights are absent from the plain variant. (A gate is about one half before
training, a factor that the next batch norm cancels, so both variants start equally; and every architecture has norm
statistics of its own.) The classifier of a branch is shared only among branches of equal depth and pooling, since its
input features differ otherwise, and classifiers of boosted networks, whose logits are added up, only among these.
"""

from aebnas.core.errors import SpecError
from aebnas.core.resolution import Resolution
from aebnas.runtime.shape_rules import Unfit
from aebnas.space.branch_layers import branch_layers_at, head_layer, stop_head_layer
from aebnas.space.input_layers import input_layers, stem_layers
from aebnas.space.layer import Layer, yaml_place
from aebnas.space.size import may_lack_exits
from aebnas.space.spec import SpaceSpec


def space_layers(spec: SpaceSpec, stop_heads: bool = False) -> set[Layer]:
    """All distinct layers of the space: exactly those its architectures use, not all combinations.

    `stop_heads` includes those that training adds to every early exit. Raises SpecError with the YAML path where a
    layer cannot run on its map, so every architecture of a space without an error can be built.
    """
    layers: set[Layer] = set()
    for resolution in spec.input.resolution:
        try:
            layers |= _layers_at(spec, resolution, stop_heads)
        except Unfit as error:
            rule = f"{error.rule}, at input.resolution {resolution}, but got {error.value}"
            raise SpecError(error.attribute, rule) from None
    return layers


def _layers_at(spec: SpaceSpec, resolution: Resolution, stop_heads: bool) -> set[Layer]:
    """The layers at one resolution; raises Unfit whose attribute is a YAML path."""
    shape, resizing = input_layers(spec.input, resolution)
    with yaml_place("stem"):
        stems = stem_layers(spec.stem, shape)
    layers = {*resizing, *stems}
    maps = {layer.out_shape for layer in stems}
    for number in range(len(spec.layout.depths)):
        maps, here = spec.layout.part_layers(number, maps)
        layers |= here
        for site in (site for site in spec.sites() if site.stage == number):
            with yaml_place(spec.branch_place(site)):
                for at_site in maps:
                    layers |= branch_layers_at(spec, site, at_site)
                    if stop_heads:
                        layers.add(stop_head_layer(site, at_site))
    return layers | {head_layer(at, spec.classes, boosted) for at in maps for boosted in _boosted_or_not(spec)}


def _boosted_or_not(spec: SpaceSpec) -> set[bool]:
    """Whether networks of the space are boosted; those without early exits, where there are any, never are."""
    if not spec.sites():
        return {False}
    return {*spec.exits.boosted} | ({False} if may_lack_exits(spec) else set())
