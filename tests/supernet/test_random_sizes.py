"""Spaces for images of any height, width and number of channels: shapes, bounds, and weight sharing."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.cost.bounds.memory_bounds import min_peak_memory
from aebnas.cost.bounds.space_bounds import space_bounds
from aebnas.cost.counts import count_graph
from aebnas.cost.memory import peak_memory
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet

EXITS = {"depth": [0, 2], "layer": ["conv", "resize+maxpool"], "kernel": 1, "side": ["2x5", 3]}
BACKBONES: dict[str, dict[str, Any]] = {
    "staged": {
        "stages": [
            {"width": [4, 6], "depth": [1, 2], "op": ["basic", "mbconv"], "expand": 2},
            {"width": 6, "depth": 1, "stride": [1, 2], "op": "fused_mbconv", "kernel": [1, 3], "se": [False, True]},
        ],
    },
    "dag": {
        "backbone": "dag",
        "dag": {"nodes": 2, "ops": [{"op": "sepconv", "kernel": [1, 3]}, "avgpool", "zero", "identity"]}
        | {"stacks": [{"width": [4, 6]}, {"width": 6}]},
    },
}
SIDES = st.integers(4, 20)
SIZES = st.builds("{}x{}".format, SIDES, SIDES)


@pytest.mark.parametrize("backbone", BACKBONES)
@given(size=SIZES, others=st.lists(SIZES, max_size=2), channels=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_a_space_of_any_size_of_images(randomise_module, backbone, size, others, channels, seed):
    sizes = list(dict.fromkeys(others)) or [size]
    pixels = {"channels": channels, "resolution": sizes, "image_size": size}
    value = {"input": pixels, "classes": 3, "stem": {"width": 4}, "exits": EXITS} | BACKBONES[backbone]
    try:
        space = SearchSpace(SpaceSpec.model_validate(value))
    except ValueError as error:  # such as [12, "12x12"]
        assert "choices must be distinct" in str(error)
        return
    supernet = Supernet(space.spec, torch.Generator().manual_seed(seed))
    macs, memory = space_bounds(space.spec, lambda counts: counts.macs), min_peak_memory(space.spec)
    rng = np.random.default_rng(seed)
    for _ in range(2):
        candidate = space.decode(space.sample(rng))
        architecture = candidate.architecture
        assert space.decode(space.encode(candidate)) == candidate
        assert type(architecture).from_json(architecture.to_json()).id == architecture.id
        graph = lower(architecture)
        assert Graph.from_json(graph.to_json()) == graph
        height, width = map(int, size.split("x"))
        assert graph.input_shape == (channels, height, width)
        network = randomise_module(Network(graph), seed).eval()
        x = torch.randn(2, *graph.input_shape, generator=torch.Generator().manual_seed(seed))
        assert_stated_shapes(network, x)
        counts = count_graph(graph).macs
        assert macs.lower <= counts.total <= macs.upper and macs.first_exit <= counts.taken_only.min()
        assert peak_memory(graph)[-1] >= memory
        with torch.no_grad():
            stats = dict(network.named_buffers())
            shared, extracted = supernet(x, architecture, stats), supernet.extract(architecture, stats)(x)
        for one, other in zip(shared, extracted, strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def assert_stated_shapes(network: Network, x: torch.Tensor) -> None:
    """The output of every node has the shape that the graph states."""
    found = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: found.update({name: out.shape[1:]}))
        for name, module in network.nodes.items()
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    graph = network.graph
    assert set(found) == {node.name for node in graph.nodes}
    for name, shape in found.items():
        stated = graph.shapes[name]
        assert tuple(shape) == (stated if len(shape) == 3 else stated[:1]), name
