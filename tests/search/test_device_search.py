"""A search for a device: its metrics, its copy of the profile, and the separation of metrics of two devices."""

import csv
import json
import re
from functools import partial

import numpy as np
import pytest
from made_up_device import SETTING, made_up, write_made_up
from tiny_run import ON_DEVICE, SPACE, own_copy, searched_on_device, write_spec
from typer.testing import CliRunner

from aebnas.cli.main import app
from aebnas.core.errors import UserError
from aebnas.core.metrics import METRICS
from aebnas.cost.latency.latency_model import LearnedLatency
from aebnas.cost.latency.network_profile import NetworkLatency, PairsProfile, load_profile
from aebnas.cost.memory import peak_memory
from aebnas.policies.threshold_search.goal import Goal
from aebnas.report.compare import compare_runs
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import max_cost
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate, export
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched_on_device(tmp_path_factory)


def test_latency_and_energy_of_every_point_are_those_of_the_profile(run):
    session = RunSession.open(run)
    profile = session.profile
    points = [(trial, point) for trial in session.run.trials() for point in trial.points]
    assert points
    for trial, point in points:
        graph, shares = lower(trial.architecture), np.array(point.exit_shares)
        runs = np.array([point.policy.runs(index) for index in range(len(shares))])
        for name, costs in (("latency_ms", profile.latency(graph)), ("energy_mj", profile.energy.energy(graph))):
            to_exit = costs.to_exit(runs)
            assert point.metrics[name] == pytest.approx(shares @ to_exit)
            assert point.metrics[f"{name}@worst"] == pytest.approx(to_exit[shares > 0].max())
        assert point.metrics["peak_memory_bytes"] == peak_memory(graph)[-1]


def test_thresholds_are_found_for_the_cost_that_is_the_objective(run):
    """Of one network's points on its own front none has more latency and no more accuracy than another."""
    for trial in RunSession.open(run).run.trials():
        ordered = sorted(trial.points, key=lambda point: point.metrics["latency_ms"])
        shares = [point.exit_shares for point in ordered]
        assert len(set(shares)) == len(shares)
    session = RunSession.open(run)
    objectives = session.experiment.parsed_objectives()
    assert [o.metric for o in objectives] == ["accuracy", "latency_ms"]
    values = [[o.minimised(point.metrics) for o in objectives] for _, point in session.front()]
    assert values == sorted(values) and [v[1] for v in values] == sorted((v[1] for v in values), reverse=True)


def test_the_front_is_shown_with_its_device(run, tmp_path):
    rows = list(csv.DictReader((run / "pareto.csv").read_text().splitlines()))
    names = [name for name in METRICS if METRICS[name].by_device]
    assert rows and all(float(row[name]) > 0 for row in rows for name in [*names, "peak_memory_bytes"])
    assert all(float(row["latency_ms@p99"]) <= 2 for row in rows)
    shown = CliRunner().invoke(app, ["show", str(run)], catch_exceptions=False).stdout
    assert "latency_ms@p99" in shown and "peak_memory_bytes" in shown and " ms" in shown
    protocol = json.loads((run / "protocol.json").read_text())["device"]
    assert protocol["name"] == "chip" and "1 thread, batch 1" in protocol["setting"]
    assert protocol["energy_mj"].startswith("model: 4.6 pJ")
    export(run, "latency_ms@p99 <= 2", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert re.search(r"\| latency_ms@p99 \| [\d.]+ \|", card)
    assert "Latency is predicted for chip (cpu, 1 thread, batch 1" in card


def test_a_pick_by_a_percentile(run):
    session = RunSession.open(run)
    middle = float(np.median([point.metrics["latency_ms@p90"] for _, point in session.front()]))
    _, picked = session.pick(f"latency_ms@p90 <= {middle}")
    within = [p for _, p in session.front() if p.metrics["latency_ms@p90"] <= middle]
    assert picked.metrics["accuracy"] == max(point.metrics["accuracy"] for point in within)


def test_the_reference_of_the_hypervolume_is_the_slowest_network(run):
    session = RunSession.open(run)
    slowest = session.facts.max_costs["latency_ms"]
    points = [point for trial in session.run.trials() for point in trial.points]
    assert all(point.metrics["latency_ms@worst"] <= slowest for point in points)
    largest = max_cost(session.space, "peak_memory_bytes", session.profile, session.cost_model)
    assert largest >= max(p.metrics["peak_memory_bytes"] for p in points)


def test_a_run_stores_its_profile_and_refuses_another(run, tmp_path):
    copy = own_copy(run, tmp_path)
    spec = copy.parent / "spec" / "tiny.yaml"
    profile = made_up(RunSession.open(copy).space.spec)
    (spec.parent / "chip.json").unlink()
    assert RunSession.open(copy).profile.digest == profile.digest
    made_up(RunSession.open(copy).space.spec, date="2026-02-02").save(spec.parent / "chip.json")
    with pytest.raises(UserError, match="these keys differ: device_profile"):
        run_search(spec, copy)


def test_runs_of_two_devices_are_not_compared(run, tmp_path):
    copy = own_copy(run, tmp_path)
    other = load_profile(copy / "device_profile.json")
    made_up(RunSession.open(copy).space.spec, device={"name": "another"}).save(copy / "device_profile.json")
    with pytest.raises(UserError, match=r"device.name must be .* profiles of two settings cannot be combined"):
        compare_runs([run, copy])
    other.save(copy / "device_profile.json")
    assert compare_runs([run, copy]).hypervolumes[0] > 0


def test_candidates_infeasible_by_latency_are_not_evaluated(run, tmp_path, scored):
    trials = RunSession.open(run).run.trials()
    quickest = sorted(min(p.metrics["latency_ms"] for p in t.points) for t in trials if t.points)
    middle = quickest[len(quickest) // 2]
    spec = write_spec(tmp_path / "spec", **ON_DEVICE | {"constraints": [f"latency_ms <= {middle}"]})
    write_made_up(SPACE, tmp_path / "spec" / "chip.json")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    weights = run / "checkpoints" / "supernet.safetensors"
    (tmp_path / "run" / "checkpoints" / weights.name).write_bytes(weights.read_bytes())
    trials = run_search(spec, tmp_path / "run").run.trials()
    provably_infeasible = [
        trial for trial in trials if trial.reason.startswith("not evaluated: latency_ms is at least")
    ]
    assert provably_infeasible and not {trial.architecture.id for trial in provably_infeasible} & set(scored)


def test_a_batch_has_no_percentiles(tmp_path):
    spec = write_spec(tmp_path, **ON_DEVICE | {"device": {"profile": "chip.json"}})
    write_made_up(SPACE, tmp_path / "chip.json", setting=SETTING | {"batch": 64})
    with pytest.raises(UserError, match=r"constraints.0: must be a mean where the profile's batch is 64"):
        run_search(spec, tmp_path / "run")


def test_a_difficulty_policy_is_charged_latency_and_energy_of_the_estimate(run, tmp_path):
    copy = own_copy(run, tmp_path)
    found = calibrate(copy, "knee", Goal.read(beta=0.5), "dart", per_exit=4)
    policy, point = found.policy, found.point
    assert policy.difficulty is not None
    session = RunSession.open(copy)
    profile, image = session.profile, (1, 8, 8)
    trial, _ = session.pick("knee")
    graph, shares = lower(trial.architecture), np.array(point.exit_shares)
    runs = np.array([policy.runs(index) for index in range(len(shares))])
    estimates = {"latency_ms": 0.25, "energy_mj": profile.energy.difficulty_mj(image)}
    for name, costs in (("latency_ms", profile.latency(graph)), ("energy_mj", profile.energy.energy(graph))):
        to_exit = costs.to_exit(runs) + estimates[name]
        assert point.metrics[name] == pytest.approx(shares @ to_exit)
        assert point.metrics[f"{name}@worst"] == pytest.approx(to_exit[shares > 0].max())
    assert evaluate(copy, "knee").point.policy == policy
    made_up(session.space.spec, difficulty=None).save(copy / "device_profile.json")
    reported = "device_profile.json: must hold the time of estimating the difficulty of an image of 1 x 8 x 8"
    for again in (partial(evaluate, copy, "knee"), partial(calibrate, copy, "knee", Goal.read(beta=0.5), "dart")):
        with pytest.raises(UserError, match=reported):
            again()
    # without a difficulty policy the profile is complete
    assert calibrate(copy, "knee", Goal.read(beta=0.5), "greedy", per_exit=4).policy.difficulty is None


def write_pairs_spec(folder, run, architectures, constraints):
    """A spec for a device known by whole networks, and a folder `run` that has weights already."""
    spec = write_spec(folder / "spec", **ON_DEVICE | {"constraints": constraints, "device": {"profile": "pairs.json"}})
    space = SearchSpace(SpaceSpec.model_validate(SPACE))
    truth = made_up(space.spec)
    graphs = [lower(architecture) for architecture in architectures(space, 30)]
    pairs = tuple(
        NetworkLatency(graph, len(graph.exits) - 1, float(truth.latency(graph).to_exit()[-1])) for graph in graphs
    )
    about = {"setting": SETTING, "device": {"name": "phone"}, "libraries": {}, "date": "2026-01-01", "rounds": 1}
    PairsProfile(**about, pairs=pairs).save(folder / "spec" / "pairs.json")
    (folder / "run" / "checkpoints").mkdir(parents=True)
    weights = run / "checkpoints" / "supernet.safetensors"
    (folder / "run" / "checkpoints" / weights.name).write_bytes(weights.read_bytes())
    return spec


def test_an_infeasible_budget_ends_with_the_smallest_violation(run, tmp_path, architectures, scored):
    """There are no bounds over the space, so each candidate is found infeasible separately, without evaluation."""
    spec = write_pairs_spec(tmp_path, run, architectures, ["latency_ms <= 0.001"])
    with pytest.raises(UserError) as caught:
        run_search(spec, tmp_path / "run")
    trials = Run(tmp_path / "run").trials()
    assert trials and not scored
    closest = min(trials, key=lambda trial: trial.violation)
    assert str(caught.value).endswith(
        f"no trial of {len(trials)} satisfies the constraints; the closest (number {closest.number}): "
        f"{closest.reason}; relax that constraint and give --out another folder"
    )
    least = min(float(trial.reason.split("at least ")[1].split(",")[0]) for trial in trials)
    assert f"latency_ms is at least {least:g}, but must be <= 0.001" in str(caught.value)
    assert not (tmp_path / "run" / "pareto.csv").read_text().splitlines()[1:]


def test_a_search_for_a_device_with_a_profile_of_whole_networks(run, tmp_path, architectures):
    spec = write_pairs_spec(tmp_path, run, architectures, [])
    session = run_search(spec, tmp_path / "run")
    learned = LearnedLatency.fit(load_profile(tmp_path / "run" / "device_profile.json"))
    assert session.front()
    for trial, point in session.front():
        runs = np.array([point.policy.runs(index) for index in range(len(point.exit_shares))])
        to_exit = learned.latencies([lower(trial.architecture)])[0].to_exit(runs)
        assert point.metrics["latency_ms"] == pytest.approx(to_exit @ np.array(point.exit_shares))
    assert json.loads((tmp_path / "run" / "protocol.json").read_text())["device"]["name"] == "phone"
