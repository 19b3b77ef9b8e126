"""`aebnas profile` and `aebnas measure` on a tiny run. No timing is asserted."""

import json

import pytest
import tiny_run
from typer.testing import CliRunner

from aebnas.cli.main import app
from aebnas.cost import stopwatch
from aebnas.cost.device import DeviceProfile
from aebnas.errors import UserError
from aebnas.measuring import measure
from aebnas.tail import STATISTICS


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    for name, value in {"WARM_UP_CALLS": 1, "VISIT_MS": 0.0, "MIN_CALLS": 1}.items():
        monkeypatch.setattr(stopwatch, name, value)


def test_profile_then_measure(tmp_path_factory, tmp_path):
    run = tiny_run.own_copy(tiny_run.searched(tmp_path_factory), tmp_path)
    tiny_run.write_spec(tmp_path)
    space = tmp_path / "space.yaml"
    out = tmp_path / "profile.json"
    cli = CliRunner()
    done = cli.invoke(app, ["profile", str(space), "--out", str(out), "--rounds", "1", "--networks", "12"])
    assert done.exit_code == 0, done.output
    assert "networks    12; those left out of the fit are met to" in done.output
    options = ["--profile", str(out), "--samples", "6", "--rounds", "2"]
    done = cli.invoke(app, ["measure", str(run), "--pick", "best-accuracy", *options])
    assert done.exit_code == 0, done.output
    assert "peak activation bytes" in done.output and ("(model)" in done.output or "(rapl)" in done.output)
    (noted,) = [json.loads(path.read_text()) for path in (run / "picks").glob("*.json")]
    measured = noted["measured"]
    assert set(measured["latency_ms"]) == set(measured["predicted_latency_ms"]) == set(STATISTICS)
    assert measured["samples"] == 6
    assert measured["predicted_peak_memory_bytes"] == pytest.approx(measured["peak_memory_bytes"], rel=0.05)
    assert set(measured["wall_clock"]) == {"batch_1", "batch_256"}

    profile = DeviceProfile.load(out)
    with pytest.raises(UserError, match=r"profile.json: setting.threads must be 2 as it is measured here, but got 1"):
        measure(run, "knee", stopwatch.Setting(threads=2), out, 4, 1)
    assert profile.setting["threads"] == 1


def test_emit_and_wrong_options(tmp_path, root):
    space, cli = root / "search_spaces" / "digits_tiny.yaml", CliRunner()
    done = cli.invoke(app, ["profile", str(space), "--emit", str(tmp_path / "folder"), "--networks", "2"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {
        "measure.py",
        "stopwatch.py",
        "runtime",
        "job.json",
    }
    done = cli.invoke(app, ["profile", str(space), "--dtype", "int8"])
    assert isinstance(done.exception, UserError)
