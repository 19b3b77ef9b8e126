"""Device profiles: predictions by hand, errors, and files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from aebnas.core.errors import UserError
from aebnas.cost.counts import count_graph
from aebnas.cost.latency.device_profile import DeviceProfile, LayerTime, Overheads
from aebnas.cost.latency.network_profile import check_same, load_profile
from aebnas.cost.layer_population import layer_key
from aebnas.space.layers import space_layers
from aebnas.space.lowering import lower

SETTING = {"device": "cpu", "threads": 1, "batch": 1, "dtype": "fp32", "memory_format": "contiguous", "compiled": False}


NOTHING = Overheads()


def make(layers, overheads=NOTHING, **changes):
    about = {"setting": SETTING, "device": {"name": "chip"}, "libraries": {}, "date": "2026-01-01", "rounds": 3}
    return DeviceProfile(**about | {"layers": layers, "overheads": overheads, "fit": {}} | changes)


@pytest.fixture
def graph(digits, architectures):
    return next(g for g in map(lower, architectures(digits, 20)) if len(g.exits) == 3)


def test_latency_is_the_sum_of_layers_run_and_overheads(graph):
    layers = {layer_key(graph, node): LayerTime(0.5 + index, 0.0) for index, node in enumerate(graph.nodes)}
    plain = make(layers).latency(graph)
    segments = graph.segments()

    def ms(nodes):
        return sum(layers[layer_key(graph, node)].ms for node in nodes)

    last, so_far = [], 0.0
    for segment in segments:
        so_far += ms(segment.backbone) + ms(segment.branch)
        last.append(so_far)
    assert plain.to_exit() == pytest.approx(last)
    assert plain.total == pytest.approx(ms(graph.nodes))

    loaded = make(layers, Overheads(2.0, 0.1, 0.3, 10.0, 0.7)).latency(graph)
    nodes = np.cumsum([len(segment.backbone) + len(segment.branch) for segment in segments])
    weight_mb = count_graph(graph).weight_bytes.to_exit() / 1e6
    exits = np.arange(1, len(segments) + 1)
    assert loaded.to_exit() == pytest.approx(2 * np.array(last) + 0.1 * nodes + 0.3 * exits + 10 * weight_mb + 0.7)
    # a branch that never runs costs neither its layers nor its decision
    without_first = loaded.to_exit(np.array([False, True, True]))
    assert without_first[-1] == pytest.approx(loaded.to_exit()[-1] - loaded.branch_e[0])


def test_an_unknown_layer_is_an_error_that_names_it(graph):
    layers = {layer_key(graph, node): LayerTime(1.0, 0.0) for node in graph.nodes[1:]}
    with pytest.raises(UserError, match=rf"profile.json: must hold {graph.nodes[0].op} .*profile this one"):
        make(layers, source="profile.json").latencies([graph])


def test_profiles_of_two_settings_or_devices_are_not_mixed():
    one = make({})
    check_same([one, make({}, date="2026-02-02")])
    threads = make({}, setting=SETTING | {"threads": 2}, source="b.json")
    with pytest.raises(UserError, match=r"b.json: setting.threads must be 1 .* but got 2"):
        check_same([one, threads])
    with pytest.raises(UserError, match=r"device.name must be 'chip' .* but got 'other'"):
        check_same([one, make({}, device={"name": "other"})])


def test_a_profile_round_trips_through_its_file(digits, graph, tmp_path):
    layers = {
        (layer.op, (layer.in_shape,), layer.attrs): LayerTime(0.1 * index + 0.1, 0.01, index % 2 == 0)
        for index, layer in enumerate(sorted(space_layers(digits.spec), key=repr))
    }
    profile = make(layers, Overheads(1.1, 0.01, 0.02, 0.0, 0.1), fit={"networks": 3.0})
    path = tmp_path / "profile.json"
    profile.save(path)
    read = load_profile(path)
    assert replace(read, source=profile.source) == profile
    assert read.digest == profile.digest
    assert read.latency(graph) == profile.latency(graph)


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "must be a device profile"),
        ("[]", "must be a device profile"),
        (json.dumps({"format": 99}), "format must be 1, but got 99"),
        (json.dumps({"format": 1}), "must be a device profile"),
    ],
)
def test_files_that_are_not_profiles_are_refused(content, message, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_profile(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_profile(tmp_path / "absent.json")
