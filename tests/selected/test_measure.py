"""`aebnas profile` and `aebnas measure` on a tiny run. No timing is asserted."""

import json

import pytest
import tiny_run
from made_up_device import made_up
from typer.testing import CliRunner

from aebnas.cli.main import app
from aebnas.core.errors import UserError
from aebnas.core.percentiles import STATISTICS
from aebnas.cost.energy_model import EnergyModel
from aebnas.cost.latency import rounds
from aebnas.cost.latency.hard_exit import runs
from aebnas.cost.latency.stopwatch import describe_device
from aebnas.policies.threshold_search.goal import Goal
from aebnas.report.payload import digest_of, payload
from aebnas.run.pick_records import record_pick
from aebnas.run.session import RunSession
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import export
from aebnas.selected.measure import measure
from aebnas.selected.selected_model import load_selected_model


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    for name, value in {"WARM_UP_CALLS": 1, "VISIT_MS": 0.0, "MIN_CALLS": 1, "MAX_TRIES": 1}.items():
        monkeypatch.setattr(rounds, name, value)


def test_profile_then_measure(tmp_path_factory, tmp_path):
    run = tiny_run.own_copy(tiny_run.searched(tmp_path_factory), tmp_path)
    tiny_run.write_spec(tmp_path)
    space = tmp_path / "space.yaml"
    out = tmp_path / "profile.json"
    cli = CliRunner()
    done = cli.invoke(app, ["profile", str(space), "--out", str(out), "--rounds", "1", "--networks", "12"])
    assert done.exit_code == 0, done.output
    assert "networks    12; mean error on those left out of the fit" in done.output
    options = ["--profile", str(out), "--samples", "6", "--rounds", "2"]
    done = cli.invoke(app, ["measure", str(run), "--pick", "best-accuracy", *options])
    assert done.exit_code == 0, done.output
    assert "peak activation memory" in done.output and "(model)" in done.output
    (noted,) = [json.loads(path.read_text()) for path in (run / "picks").glob("*.json")]
    measured = noted["measured"]
    assert set(measured["latency_ms"]) == set(measured["predicted_latency_ms"]) == set(STATISTICS)
    assert measured["samples"] == 6
    assert measured["predicted_peak_memory_bytes"] == pytest.approx(measured["peak_memory_bytes"], rel=0.05)
    assert set(measured["wall_clock"]) == {"batch_1", "batch_256"}
    assert "speed-up over MACs ratio, batch 1" in done.output and "saved time over saved MACs, batch 1" in done.output

    with pytest.raises(UserError, match=r"profile.json: setting.threads must be 2 as in this measurement, but got 1"):
        measure(run, "knee", {"threads": 2}, out, 4, 1)
    with pytest.raises(UserError, match=r"--memory-format must be one of contiguous, channels_last, but got 'odd'"):
        measure(run, "knee", {"memory_format": "odd"}, None, 4, 1)


def test_measurement_and_prediction_include_the_difficulty_estimate(tmp_path_factory, tmp_path):
    run = tiny_run.own_copy(tiny_run.searched_on_device(tmp_path_factory), tmp_path)
    policy = calibrate(run, "knee", Goal.read(beta=0.5), "dart", per_exit=4).policy
    spec, here = RunSession.open(run).space.spec, describe_device("cpu")
    made_up(spec, device=here).save(tmp_path / "here.json")
    made_up(spec, device=here, difficulty=None).save(tmp_path / "old.json")
    measured = measure(run, "knee", {}, tmp_path / "here.json", 6, 1)
    graph = load_selected_model(RunSession.open(run), "knee").network.graph
    ran, model = runs(policy, len(graph.exits)), EnergyModel()
    expected_e = made_up(spec).latency(graph).to_exit(ran) + 0.25
    assert measured.predicted_by_exit_ms == pytest.approx(expected_e.tolist())
    modelled_e = model.energy(graph).to_exit(ran) + model.difficulty_mj(graph.input_shape)
    assert measured.modelled_energy_mj == pytest.approx(modelled_e @ measured.single.exit_shares)
    with pytest.raises(UserError, match=r"old.json: must hold the time of estimating the difficulty"):
        measure(run, "knee", {}, tmp_path / "old.json", 6, 1)
    made_up(spec, device=here, difficulty=None).save(run / "device_profile.json")
    measured = measure(run, "knee", {}, None, 6, 1)
    assert measured.predicted_latency_ms is None and "must hold the time of estimating" in measured.note


def test_the_report_and_the_card_show_what_was_measured(tmp_path_factory, tmp_path):
    """On another device than that of the run's profile nothing is predicted, and the reason is recorded."""
    run = tiny_run.own_copy(tiny_run.searched_on_device(tmp_path_factory), tmp_path)
    measured = measure(run, "knee", {}, None, 4, 1)
    assert measured.predicted_latency_ms is None
    assert "device.name must be" in measured.note and "but got 'chip'" in measured.note
    session = RunSession.open(run)
    (shown,) = payload(session.facts, digest_of(session.facts))["measured"]
    assert shown["id"] == measured.id and "1 thread, batch 1" in shown["where"]
    rows = {what: (real, guess) for what, real, guess in shown["rows"]}
    assert rows["latency, p99"] == (f"{measured.latency_ms['p99']:.3f} ms", "-")
    assert rows["energy a sample"][1].endswith("mJ (model)")
    assert "times fewer MACs" in rows["speed-up by exits, batch 256"][1]
    export(run, measured.id, tmp_path / "out")
    assert f"| latency, p99 | {measured.latency_ms['p99']:.3f} ms | - |" in (tmp_path / "out" / "README.md").read_text()
    # a measurement of earlier weights is not shown
    record_pick(session.run, session.pick(measured.id), "measured", measured.to_json() | {"source": "elsewhere"})
    assert payload(session.facts, digest_of(session.facts))["measured"] == []


def test_emit_and_wrong_options(tmp_path, root):
    space, cli = root / "search_spaces" / "digits_tiny.yaml", CliRunner()
    done = cli.invoke(app, ["profile", str(space), "--emit", str(tmp_path / "folder"), "--networks", "2"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        "measure.py",
        "rounds.py",
        "stopwatch.py",
        "runtime",
        "job.json",
    }
    done = cli.invoke(app, ["profile", str(space), "--dtype", "int8"])
    assert isinstance(done.exception, UserError)
