"""All that networks of a space may be made of, as a device profile knows it. Imports no torch."""

from aebnas.cost.layer_population import LayerKey
from aebnas.space.layers import is_edge, space_layers
from aebnas.space.spec import SpaceSpec


def space_keys(spec: SpaceSpec) -> set[LayerKey]:
    """All that networks of a space are made of: their layers, and of a DAG the sums of edges."""
    layers = space_layers(spec)
    keys: set[LayerKey] = {(layer.op, (layer.in_shape,), layer.attrs) for layer in layers}
    if spec.dag is not None:
        most = max(len(spec.dag.sources(node)) for node in range(1, spec.dag.nodes + 1))
        maps = {layer.in_shape for layer in layers if is_edge(layer)}
        keys |= {("add", (shape,) * count, ()) for shape in maps for count in range(1, most + 1)}
    return keys
