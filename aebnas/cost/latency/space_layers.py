"""All that networks of a space may be made of, as a device profile knows it. Imports no torch."""

from aebnas.cost.layer_population import sum_key
from aebnas.runtime.op import LayerKey
from aebnas.space.layers import is_edge, space_layers
from aebnas.space.spec import SpaceSpec


def space_keys(spec: SpaceSpec, stop_heads: bool) -> set[LayerKey]:
    """All that networks of a space are made of: their layers, and of a DAG the sums of edges.

    With `stop_heads` those too that a training may add to early exits.
    """
    layers = space_layers(spec, stop_heads)
    keys: set[LayerKey] = {layer.key for layer in layers}
    if spec.dag is not None:
        most = max(len(spec.dag.sources(node)) for node in range(1, spec.dag.nodes + 1))
        maps = {layer.in_shape for layer in layers if is_edge(layer)}
        keys |= {sum_key(shape, count) for shape in maps for count in range(1, most + 1)}
    return keys
