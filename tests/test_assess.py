import json
import os
import subprocess
import sys

import pytest
from tiny_run import own_copy, searched

from aebnas.assess import evaluate, export
from aebnas.data.datasets import load_test
from aebnas.errors import UserError
from aebnas.evaluate.points import operating_point
from aebnas.policy.tabulate import tabulate
from aebnas.retrain import retrain
from aebnas.workspace import Workspace, load_chosen


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose best pick is retrained, and nothing else."""
    copy = own_copy(searched(tmp_path_factory), tmp_path_factory.mktemp("assessed"))
    retrain(copy, "best-accuracy")
    return copy


@pytest.fixture
def own(run, tmp_path):
    return own_copy(run, tmp_path)


def record(run, point_id):
    return json.loads((run / "picks" / f"{point_id}.json").read_text())


def test_an_inherited_pick_is_measured_on_the_test_set(own):
    workspace = Workspace.open(own)
    point_id, source, point, samples = evaluate(own, "cheapest")
    assert (source, samples) == ("inherited from the supernet", 360)
    trial, picked = workspace.pick("cheapest")
    assert (point_id, point.policy) == (picked.id, picked.policy)
    network = load_chosen(workspace, "cheapest").network
    images = load_test(workspace.experiment.data, workspace.base)
    table = tabulate(network, images, workspace.preprocessing, [picked.policy.criterion])
    assert point == operating_point(trial.architecture, picked.policy, table)
    assert point.metrics["accuracy"] != picked.metrics["accuracy"]
    kept = record(own, point_id)["test"]
    assert kept["samples"] == 360 and kept["metrics"] == point.metrics and kept["source"] == source


def test_a_retrained_pick_is_measured_with_its_new_weights_and_policy(own):
    point_id, source, point, _ = evaluate(own, "best-accuracy")
    kept = record(own, point_id)
    assert source == kept["retrained"]["source"]
    assert point.policy.to_json() == kept["retrained"]["policy"]
    assert set(kept) == {"retrained", "test"}


def test_picks_need_a_front_and_weights(own):
    with pytest.raises(UserError, match="pick"):
        evaluate(own, "avg_macs <= 1")
    (own / "checkpoints" / "supernet.safetensors").unlink()
    with pytest.raises(UserError, match="the weights are not there; give the search command again"):
        evaluate(own, "cheapest")
    assert evaluate(own, "best-accuracy")[1].startswith("retrained")


def card_of(folder) -> str:
    return (folder / "README.md").read_text()


def test_the_card_states_the_figures_of_these_weights(own, tmp_path):
    """Of the search split until `evaluate` measured them; the test figures of other weights don't count."""
    point_id = export(own, "best-accuracy", tmp_path / "out")
    retrained = record(own, point_id)["retrained"]["metrics"]["accuracy"]
    stated = card_of(tmp_path / "out")
    assert f"| accuracy | {retrained:.4g} |" in stated and "287 samples of the `search` split" in stated
    *_, point, _ = evaluate(own, point_id)
    export(own, point_id, tmp_path / "out")
    stated = card_of(tmp_path / "out")
    assert f"| accuracy | {point.metrics['accuracy']:.4g} |" in stated and "360 samples of the `test` split" in stated
    retrain(own, point_id, epochs=2)
    export(own, point_id, tmp_path / "out")
    stated = card_of(tmp_path / "out")
    assert "360 samples" not in stated and "retrained for 2 epochs" in stated


def test_the_exported_folder_checks_itself_without_aebnas(run, tmp_path):
    export(run, "best-accuracy", tmp_path / "out")
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "aebnas.py").write_text("raise ImportError('not here')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "stub"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "out" / "model.py"), "--check"]
    checked = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("check passed: 32 samples")
