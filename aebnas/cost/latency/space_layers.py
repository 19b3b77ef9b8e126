"""Keys of every layer and sum that networks of a space may contain. Imports no torch."""

from aebnas.runtime.op import LayerKey
from aebnas.space.branch_layers import boost_key
from aebnas.space.layers import space_layers
from aebnas.space.spec import SpaceSpec


def space_keys(spec: SpaceSpec, stop_heads: bool) -> set[LayerKey]:
    """Keys of all layers that networks of a space may contain, of the sums of edges in a DAG and of exits' logits in
    boosted networks.

    `stop_heads` includes those that training may add to early exits.
    """
    layers = space_layers(spec, stop_heads)
    boosts = {boost_key(spec.classes)} if True in spec.exits.boosted and spec.sites() else set()
    return {layer.key for layer in layers} | spec.layout.sums(layers) | boosts
