import json
import os
import subprocess
import sys

import pytest
from tiny_run import own_copy, searched, write_report

from aebnas.core.confidence_intervals import difference, wilson
from aebnas.core.errors import UserError
from aebnas.data.datasets import load_test
from aebnas.evaluation.operating_points import operating_point
from aebnas.policies.exit_table.tabulate import tabulate_for
from aebnas.run.session import RunSession
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model
from aebnas.space.lowering import lower


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
    session = RunSession.open(own)
    assessed = evaluate(own, "cheapest")
    point_id, source, point = assessed.id, assessed.source, assessed.point
    assert (source, assessed.samples) == ("inherited from the supernet", 360)
    trial, picked = session.pick("cheapest")
    assert (point_id, point.policy) == (picked.id, picked.policy)
    network = load_selected_model(session, "cheapest").network
    images = load_test(session.experiment.data, session.base)
    table = tabulate_for(picked.policy, network, images, session.images.preprocessing)
    assert point == operating_point(trial.architecture.id, lower(trial.architecture), picked.policy, table)
    assert point.metrics["accuracy"] != picked.metrics["accuracy"]
    kept = record(own, point_id)["test"]
    assert kept["samples"] == 360 and kept["metrics"] == point.metrics and kept["source"] == source


def test_a_retrained_pick_is_measured_with_its_new_weights_and_policy(own):
    assessed = evaluate(own, "best-accuracy")
    point = assessed.point
    kept = record(own, assessed.id)
    assert assessed.source == kept["retrained"]["source"]
    assert point.policy.to_json() == kept["retrained"]["policy"]
    assert set(kept) == {"point", "retrained", "test"}


def test_picks_need_a_front_and_weights(own):
    with pytest.raises(UserError, match="pick"):
        evaluate(own, "avg_macs <= 1")
    (own / "checkpoints" / "supernet.safetensors").unlink()
    with pytest.raises(UserError, match="the weights are missing; run the search command again"):
        evaluate(own, "cheapest")
    assert evaluate(own, "best-accuracy").source.startswith("retrained")


def test_the_search_splits_optimism_is_that_of_the_same_weights_and_policy(own):
    """Retrained: both accuracies are those after retraining, not the search's."""
    session = RunSession.open(own)
    for rule, on_search in (
        ("cheapest", lambda known, picked: picked.metrics),
        ("best-accuracy", lambda known, picked: known["retrained"]["metrics"]),
    ):
        assessed = evaluate(own, rule)
        known = record(own, assessed.id)
        reported, search = known["test"]["optimism"], on_search(known, session.pick(rule)[1])["accuracy"]
        assert reported == assessed.optimism
        assert reported["difference"] == search - assessed.point.metrics["accuracy"]
        assert (reported["search_samples"], reported["test_samples"]) == (287, 360)
        bounds = difference(search, 287, assessed.point.metrics["accuracy"], 360)
        assert (reported["difference_low"], reported["difference_high"]) == bounds
    noted = json.loads((own / "summary.json").read_text())["optimism"]
    assert {reported["id"] for reported in noted} == {assessed.id, session.pick("cheapest")[1].id}
    write_report(session.run.folder)  # as a repeated search does
    assert json.loads((own / "summary.json").read_text())["optimism"] == noted


def test_every_accuracy_of_a_pick_has_its_interval(own):
    known = record(own, evaluate(own, "best-accuracy").id)
    for split, samples in (("retrained", 287), ("test", 360)):
        bounds = wilson(known[split]["metrics"]["accuracy"], samples)
        assert (known[split]["accuracy_low"], known[split]["accuracy_high"]) == bounds


def card_of(folder) -> str:
    return (folder / "README.md").read_text()


def test_the_card_states_the_figures_of_these_weights(own, tmp_path):
    """Of the search split until `evaluate` measured them; the test figures of other weights don't count."""
    point_id = export(own, "best-accuracy", tmp_path / "out")
    retrained = record(own, point_id)["retrained"]["metrics"]["accuracy"]
    stated = card_of(tmp_path / "out")
    assert f"| accuracy | {retrained:.4g} |" in stated and "287 samples of the `search` split" in stated
    point = evaluate(own, point_id).point
    export(own, point_id, tmp_path / "out")
    stated = card_of(tmp_path / "out")
    low, high = wilson(point.metrics["accuracy"], 360)
    assert f"the 95 % interval of the accuracy is {low:.4g} to {high:.4g}" in stated
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
