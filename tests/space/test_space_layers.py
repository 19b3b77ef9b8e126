"""`space_layers` returns exactly the layers that the architectures of a space use."""

import pytest

from aebnas.core.errors import UserError
from aebnas.space.branch_layers import branch_stride
from aebnas.space.branch_spec import branch_channels
from aebnas.space.genome import SearchSpace
from aebnas.space.layer import Layer, make_layer
from aebnas.space.layers import space_layers
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec


def layers_of(architecture):
    graph = lower(architecture)
    nodes = [node for node in graph.nodes if node.op not in ("add", "boost")]  # sums aren't layers
    return {Layer(n.weights, n.op, n.attrs, graph.shapes[n.inputs[0]]): graph.shapes[n.name] for n in nodes}


def test_every_node_is_a_layer_of_its_space(bundled, architectures):
    known = {layer: layer.out_shape for layer in space_layers(bundled.spec)}
    for architecture in architectures(bundled, 200):
        assert layers_of(architecture).items() <= known.items()


def test_every_layer_is_used_by_some_architecture(small, everything):
    used = {layer for architecture in {c.architecture for c in everything(small)} for layer in layers_of(architecture)}
    assert space_layers(small.spec) == used


def test_a_layer_that_cannot_run_cannot_be_made():
    with pytest.raises(ValueError, match=r"kernel must be at most 3, .* 2x2 map at stage1.block1.conv, but got 5"):
        make_layer("stage1_block1_conv", "conv", (3, 2, 2), out_channels=4, kernel=5, stride=1)


def test_spaces_with_one_impossible_architecture_are_refused():
    """A map of side 4 shrinks to 2 in a branch, one of side 3 doesn't: the smallest map isn't the most restrictive."""
    spec = {
        "input": {"channels": 1, "resolution": 12},
        "classes": 2,
        "stem": {"width": 4},
        "stages": [
            {"width": 4, "depth": 1, "stride": [3, 4], "op": "basic"},
            {"width": 4, "depth": 1, "op": "basic"},
        ],
        "exits": {"depth": 2, "kernel": 5},
    }
    with pytest.raises(UserError, match=r"^exits.kernel: must be at most 3, .* 2x2 map at exit.stage1.layer2.conv"):
        SearchSpace(SpaceSpec.model_validate(spec))
    spec["stages"][0]["stride"] = 4
    SearchSpace(SpaceSpec.model_validate(spec))


def test_branch_arithmetic():
    assert [branch_stride((8, *sides)) for sides in ((1, 1), (3, 9), (9, 3), (4, 9), (9, 9))] == [1, 1, 1, 2, 2]
    assert [branch_channels(channels, factor) for channels, factor in [(16, 0.5), (1, 0.1), (12, 1.5)]] == [
        8,
        1,
        18,
    ]
