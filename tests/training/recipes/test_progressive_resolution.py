from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from aebnas.runtime.graph import Graph, GraphExit, Node
from aebnas.training.recipes.progressive_resolution import resized, scale_at, training_size

STEPS = ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0))


def graph(height=32, width=32, strides=(1, 2, 2), resize=None) -> Graph:
    """A chain of convolutions with a classifier."""
    nodes, at, channels = [], "input", 3
    if resize:
        nodes.append(Node.make("resize", "resize", ("input",), side=resize))
        at = "resize"
    for number, stride in enumerate(strides):
        attrs = {"in_channels": channels, "out_channels": 4, "kernel": 3, "stride": stride}
        nodes.append(Node.make(f"conv{number}", "conv", (at,), **attrs))
        at, channels = f"conv{number}", 4
    nodes.append(Node.make("head", "classifier", (at,), in_channels=4, classes=2))
    return Graph((3, height, width), tuple(nodes), (GraphExit(at, "head"),))


def test_scales_by_hand():
    assert [scale_at(STEPS, p) for p in (0.0, 0.24, 0.25, 0.49, 0.5, 1.0)] == [0.5, 0.5, 0.75, 0.75, 1.0, 1.0]
    assert scale_at((), 0.3) == 1.0


@pytest.mark.parametrize(
    "made, scale, expected",
    [
        (graph(), 0.625, (20, 20)),
        (graph(), 0.6, (20, 20)),  # 19.2, rounded to a multiple of 4
        (graph(), 1.0, (32, 32)),
        (graph(), 0.1, (16, 16)),  # not below maps of 4 pixels
        (graph(96, 160), 0.5, (48, 80)),
        (graph(8, 8, (1, 2)), 0.5, (8, 8)),  # would be a map of 2
        (graph(28, 28), 0.75, (20, 20)),
        (graph(224, 224, (2, 2, 2, 2, 2)), 0.5, (128, 128)),
        (graph(64, 64, resize=32), 0.5, (64, 64)),
    ],
)
def test_sizes_by_hand(made, scale, expected):
    assert training_size(made, scale) == expected


@given(
    st.integers(4, 70),
    st.integers(4, 70),
    st.lists(st.sampled_from([1, 2]), min_size=1, max_size=4),
    st.floats(0.05, 1),
)
def test_a_network_runs_at_every_size(height, width, strides, scale):
    try:
        made = graph(height, width, tuple(strides))
    except ValueError:  # no such network
        assume(False)
    rows, columns = training_size(made, scale)
    assert rows <= height and columns <= width
    assert (rows, columns) == (height, width) or (rows < height and columns < width)
    replace(made, input_shape=(3, rows, columns))  # raises where a layer can't run


def test_images_are_resized_with_antialiasing():
    """A pattern of single pixels becomes grey, instead of one of its colours."""
    stripes = torch.tensor([0.0, 1.0]).repeat(16).expand(1, 1, 32, 32)
    small = resized(stripes, (16, 16))
    assert small.shape == (1, 1, 16, 16) and (small[..., 2:-2] - 0.5).abs().max() < 0.05
    assert resized(stripes, (32, 32)) is stripes
