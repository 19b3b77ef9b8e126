"""Every layer and sum that networks of a space may contain, as keys of a device profile. Imports no torch."""

from aebnas.runtime.op import LayerKey
from aebnas.space.layers import space_layers
from aebnas.space.spec import SpaceSpec


def space_keys(spec: SpaceSpec, stop_heads: bool) -> set[LayerKey]:
    """Everything that networks of a space contain: their layers, and of a DAG the sums of edges.

    With `stop_heads` those too that a training may add to early exits.
    """
    layers = space_layers(spec, stop_heads)
    return {layer.key for layer in layers} | spec.layout.sums(layers)
