"""Computed peak memory, compared with that recorded in a run."""

import numpy as np
import pytest
import torch

from aebnas.core.errors import UserError
from aebnas.cost.latency.stopwatch import leave_at
from aebnas.cost.live_tensors import LiveTensors, recorded_peak
from aebnas.cost.memory import op_bytes, peak_memory
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPAQUE
from aebnas.space.lowering import lower


def test_live_tensors_are_counted_until_they_are_freed():
    x = torch.zeros(100)
    with LiveTensors(x) as live:
        y = x + 1  # 400 bytes beside the 400 given
        view = y[:50]  # shares y's storage
        view += 1
        assert live.now_bytes == 800
        del y
        assert live.now_bytes == 800  # the view still references it
        del view
        assert live.now_bytes == 400
        assert live.peak_bytes == 800


def test_counted_memory_is_recorded_memory_at_every_exit(bundled, architectures, pixels):
    for architecture in architectures(bundled, 5, seed=4):
        graph = lower(architecture)
        network, exits = Network(graph).eval(), len(graph.exits)
        for index, counted in enumerate(peak_memory(graph)):
            recorded = recorded_peak(network, pixels(architecture, 1), leave_at(index, exits))
            assert counted == pytest.approx(recorded, rel=0.05)


def test_branches_that_never_run_use_no_memory(digits, architectures, pixels):
    drawn = architectures(digits, 40)
    checked = 0
    for architecture in [a for a in drawn if len(a.exits) >= 2][:4]:
        graph = lower(architecture)
        network, exits = Network(graph).eval(), len(graph.exits)
        policy = ExitPolicy("margin", (None,) + (1.0,) * (exits - 2))
        counted = peak_memory(graph, [policy.runs(index) for index in range(exits)])
        assert counted[-1] == pytest.approx(recorded_peak(network, pixels(architecture, 1), policy), rel=0.05)
        checked += 1
    assert checked == 4


def test_a_network_by_hand():
    nodes = (
        Node.make("conv", "conv", (INPUT,), in_channels=1, out_channels=4, kernel=3, stride=1),
        Node.make("pool", "maxpool", ("conv",), kernel=3, stride=2),
        Node.make("head", "classifier", ("pool",), in_channels=4, classes=2),
    )
    graph = Graph((1, 8, 8), nodes, (GraphExit("pool", "head"),))
    image, map_ = 64 * 4, 4 * 64 * 4
    # while a norm or an activation runs its input is alive beside its result; the pool's indices take 8 bytes
    assert op_bytes("conv", ((1, 8, 8),), nodes[0].attrs, torch.float32) == (map_, 2 * map_, None)
    assert op_bytes("maxpool", ((4, 8, 8),), nodes[1].attrs, torch.float32) == (map_ // 4, map_ // 4 * 3, None)
    assert peak_memory(graph).tolist() == [image + 2 * map_]


def test_half_the_bytes_per_number_are_half_the_memory(digits, architectures):
    graph = lower(architectures(digits, 1)[0])
    assert np.all(peak_memory(graph, dtype=torch.bfloat16) < 0.6 * peak_memory(graph))


def test_unknown_memory_is_an_error_and_stated_memory_is_used():
    def graph(**stated):
        attrs = {"out_shape": (5, 2, 2), "macs": 1, "params": 1, "norm_channels": 0} | stated
        nodes = (
            Node.make("big", OPAQUE, (INPUT,), **attrs),
            Node.make("head", "classifier", ("big",), in_channels=5, classes=2),
        )
        return Graph((3, 4, 4), nodes, (GraphExit("big", "head"),))

    with pytest.raises(UserError, match="a node of op 'module' must state peak_bytes"):
        peak_memory(graph())
    assert peak_memory(graph(peak_bytes=10_000)).tolist() == [3 * 16 * 4 + 10_000]


def test_an_input_returned_by_an_op_is_alive_as_long_as_either_value():
    """A sum of one edge is the edge itself: nothing is added for it, and it stays where only the sum is needed."""
    nodes = (
        Node.make("conv", "conv", (INPUT,), in_channels=1, out_channels=4, kernel=3, stride=1),
        Node.make("sum", "add", ("conv",)),
        Node.make("early", "classifier", ("sum",), in_channels=4, classes=2),
        Node.make("next", "conv", ("sum",), in_channels=4, out_channels=4, kernel=3, stride=1),
        Node.make("head", "classifier", ("next",), in_channels=4, classes=2),
    )
    graph = Graph((1, 8, 8), nodes, (GraphExit("sum", "early"), GraphExit("next", "head")))
    image, map_ = 64 * 4, 4 * 64 * 4
    assert op_bytes("add", ((4, 8, 8),), (), torch.float32) == (0, 0, 0)
    assert peak_memory(graph)[-1] == image + map_ + 2 * map_
