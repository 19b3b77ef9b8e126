"""Runs of version 0.1 still open: shown, evaluated and exported, with equal figures."""

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from aebnas.cli.main import app

RETRAINED, CALIBRATED, INHERITED = "328975a8fc-868055", "25cb4b7d97-868055", "a982ff73e8-03743c"


@pytest.fixture(scope="module")
def old(root, tmp_path_factory):
    """A copy of a run with weights, beside its spec's folder."""
    folder = tmp_path_factory.mktemp("old")
    shutil.copytree(root / "tests" / "fixtures" / "run_of_version_0_1", folder / "fixture")
    return folder / "fixture" / "run"


def command(*arguments) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_committed_run_is_shown(root):
    printed = command("show", root / "results" / "cifar10_cpu")
    assert "operating points on the front (search split, N = " in printed and "finished" in printed


def test_a_run_with_weights_is_shown(old):
    printed = command("show", old)
    assert all(point in printed for point in (RETRAINED, CALIBRATED, INHERITED))


@pytest.mark.parametrize("point, accuracy", [(RETRAINED, 0.9083), (CALIBRATED, 0.8556), (INHERITED, None)])
def test_it_is_evaluated_and_exported(old, tmp_path, point, accuracy):
    record = old / "picks" / f"{point}.json"
    before = json.loads(record.read_text())["test"] if record.exists() else None
    command("evaluate", old, "--pick", point)
    test = json.loads(record.read_text())["test"]
    if accuracy is not None:
        assert test["metrics"]["accuracy"] == before["metrics"]["accuracy"]
        assert round(test["metrics"]["accuracy"], 4) == accuracy
        assert test["source"] == before["source"]
    command("export", old, "--pick", point, "--out", tmp_path / "out")
    checked = subprocess.run(
        [sys.executable, "model.py", "--check"], cwd=tmp_path / "out", capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
