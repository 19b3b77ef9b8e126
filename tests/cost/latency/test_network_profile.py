"""Devices with only whole-network latencies: learned latencies, and files of pairs."""

import json

import numpy as np
import pytest
from made_up_device import SETTING, made_up
from typer.testing import CliRunner

from aebnas.cli.main import app
from aebnas.core.errors import UserError
from aebnas.cost.latency.latency_model import LearnedLatency
from aebnas.cost.latency.network_profile import (
    NetworkLatency,
    PairsProfile,
    check_same,
    load_profile,
    read_pairs,
    write_architectures,
)
from aebnas.cost.truncation import cut_off
from aebnas.space.lowering import lower


@pytest.fixture(scope="module")
def truth(digits):
    """A device whose layer times are hidden from the model."""
    return made_up(digits.spec)


def pairs_of(device, drawn, seed=0):
    rng = np.random.default_rng(seed)
    pairs = []
    for graph in map(lower, drawn):
        leave = int(rng.integers(len(graph.exits)))
        pairs.append(NetworkLatency(graph, leave, float(device.latency(graph).to_exit()[leave])))
    return tuple(pairs)


def profile(pairs, **changes):
    about = {"setting": SETTING, "device": {"name": "chip"}, "libraries": {}, "date": "2026-01-01", "rounds": 3}
    return PairsProfile(**about | {"pairs": pairs} | changes)


def test_latency_to_every_exit_is_learned_and_never_decreases(truth, digits, architectures):
    learned = LearnedLatency.fit(profile(pairs_of(truth, architectures(digits, 60))))
    graphs = [lower(architecture) for architecture in architectures(digits, 40, seed=1)]
    errors = []
    for graph, found in zip(graphs, learned.latencies(graphs), strict=True):
        real = truth.latency(graph)
        errors += (found.to_exit() / real.to_exit() - 1).tolist()
        assert min(found.branch_e) >= 0 and (np.diff(found.backbone_e) >= 0).all()
    assert np.abs(errors).mean() < 0.1
    whole = learned.whole(graphs)
    real = np.array([truth.latency(graph).to_exit()[-1] for graph in graphs])
    assert ((whole.low_ms <= real) & (real <= whole.high_ms)).mean() > 0.8


def test_another_device_helps_where_few_networks_were_measured(truth, digits, architectures):
    """The other device takes twice the time for every layer, with other overheads."""
    few = pairs_of(truth, architectures(digits, 12))
    helper = made_up(digits.spec, device={"name": "helper"}, overheads=truth.overheads._replace(scale=2.4))
    graphs = [lower(architecture) for architecture in architectures(digits, 60, seed=1)]
    real = np.array([truth.latency(graph).to_exit()[-1] for graph in graphs])

    def error(learned):
        return np.abs(np.array([c.to_exit()[-1] for c in learned.latencies(graphs)]) / real - 1).mean()

    assert error(LearnedLatency.fit(profile(few, helpers=(helper,)))) < error(LearnedLatency.fit(profile(few)))


def test_a_profile_read_from_its_file_predicts_the_same(truth, digits, architectures, tmp_path):
    known = profile(pairs_of(truth, architectures(digits, 12)), helpers=(truth,))
    known.save(tmp_path / "p.json")
    read = load_profile(tmp_path / "p.json")
    assert read.digest == known.digest and read.pairs == known.pairs
    graphs = [lower(architecture) for architecture in architectures(digits, 5, seed=1)]
    assert LearnedLatency.fit(read).latencies(graphs) == LearnedLatency.fit(known).latencies(graphs)
    check_same([read, truth])


def test_a_truncated_network_holds_the_nodes_that_run(digits, architectures):
    graph = next(g for g in map(lower, architectures(digits, 20)) if len(g.exits) == 3)
    segments = graph.segments()
    everything = [n for s in segments[:2] for part in s for n in part]
    assert set(cut_off(graph, 1).nodes) == set(everything)
    single = cut_off(graph, 1, only_branch=True)
    assert set(single.nodes) == set(everything) - set(segments[0].branch) and len(single.exits) == 1


def test_a_boosted_networks_branches_are_learned_as_part_of_what_always_runs(make_small, architectures):
    space = make_small("boosted_or_not")
    truth, drawn = made_up(space.spec), architectures(space, 120)
    learned = LearnedLatency.fit(profile(pairs_of(truth, drawn)))
    graphs = [lower(a) for a in dict.fromkeys(drawn) if a.boosted and len(a.exits) == 2][:6]
    for graph, found in zip(graphs, learned.latencies(graphs), strict=True):
        real = truth.latency(graph)
        never = np.array([False, False, True])
        assert found.to_exit(never)[-1] == pytest.approx(real.to_exit(never)[-1], rel=0.1)
        assert found.to_exit() == pytest.approx(real.to_exit(), rel=0.1)
        assert found.without_exits == pytest.approx(real.without_exits, rel=0.1)
        assert found.without_exits < found.to_exit(never)[-1]
    plain = [architecture for architecture in drawn if not architecture.boosted]
    with pytest.raises(UserError, match="the profile: must hold a network with boost, but none of its"):
        profile(pairs_of(truth, plain)).check_covers(space.spec)
    profile(pairs_of(truth, drawn)).check_covers(space.spec)


def test_pairs_from_elsewhere_become_a_profile(truth, digits, root, architectures, tmp_path):
    drawn = architectures(digits, 30)
    file = tmp_path / "pairs.jsonl"
    write_architectures(file, [(architecture, 0) for architecture in drawn])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line, architecture in zip(lines, drawn, strict=True):
        line["latency_ms"] = float(truth.latency(lower(architecture)).to_exit()[0])
    file.write_text("\n".join(map(json.dumps, lines)))
    assert read_pairs(file)[0] == NetworkLatency(lower(drawn[0]), 0, lines[0]["latency_ms"])
    space, out = root / "search_spaces" / "digits_tiny.yaml", tmp_path / "p.json"
    options = ["--pairs", str(file), "--device-name", "phone", "--out", str(out)]
    done = CliRunner().invoke(app, ["profile", str(space), *options], catch_exceptions=False)
    assert "phone: cpu, 1 thread, batch 1" in done.output and "learned from 30 networks" in done.output
    assert load_profile(out).device == {"name": "phone"}


def test_lines_that_are_not_pairs_are_refused(architectures, digits, tmp_path):
    file = tmp_path / "pairs.jsonl"
    good = {"architecture": architectures(digits, 1)[0].to_json(), "latency_ms": 1.0}
    for bad, message in [
        ("{", "line 1: must hold an architecture and its latency_ms"),
        ('{"latency_ms": 1}', "line 1: must hold an architecture and its latency_ms; lacks 'architecture'"),
        (json.dumps(good | {"latency_ms": None}), "latency_ms must be a number above 0, but got nothing"),
        (json.dumps(good | {"latency_ms": -1}), "latency_ms must be a number above 0, but got -1"),
        (json.dumps(good | {"exit": 9}), "exit must be a whole number from 1 to"),
        (json.dumps(good), "must hold at least 10 pairs, but got 1"),
    ]:
        file.write_text(bad)
        with pytest.raises(UserError) as refused:
            read_pairs(file)
        assert message in str(refused.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_pairs(tmp_path / "absent")


def test_an_op_that_is_in_no_pair_is_named(truth, digits, architectures):
    drawn = [a for a in architectures(digits, 400) if not any("maxpool" in node.op for node in lower(a).nodes)][:12]
    with pytest.raises(UserError, match=r"the profile: must hold a network with exit\..*maxpool.*, but none of its 12"):
        profile(pairs_of(truth, drawn)).check_covers(digits.spec)


def test_it_has_no_costs_of_a_relaxed_networks_layers(truth, digits, architectures):
    from aebnas.supernet.darts.relaxed_costs import layer_cost

    learned = profile(pairs_of(truth, architectures(digits, 40)))
    with pytest.raises(
        UserError, match="latency_ms must have a device profile of layers, but got the profile, which holds"
    ):
        layer_cost("latency_ms", learned)
    with pytest.raises(UserError, match="but got none"):
        layer_cost("latency_ms")
