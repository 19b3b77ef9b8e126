"""Probabilities are calibrated by default: temperatures are fitted where a candidate is scored or retrained."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import GENES, own_copy, searched, searched_genes, write_spec

from aebnas.policies.calibration.reliability import exit_reliability
from aebnas.policies.calibration.temperature import fit_temperatures
from aebnas.policies.threshold_search.goal import Goal
from aebnas.run.pick_records import read_record
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.selected.retrain import retrain
from aebnas.space.genome import Candidate

EARLIER = Path(__file__).parents[1] / "fixtures" / "run_of_version_0_1"


@pytest.fixture
def own(tmp_path_factory, tmp_path):
    return own_copy(searched(tmp_path_factory), tmp_path)


def fitted(outputs):
    """Temperatures of a pick's network, fitted to its outputs on `calibrate`."""
    recorded = outputs.logits("calibrate")
    return fit_temperatures(recorded.logits_nec.numpy(), recorded.labels_n.numpy())


def test_every_point_of_a_search_carries_its_networks_temperatures(own):
    for trial in RunSession.open(own).run.trials():
        (temperatures,) = {point.policy.temperatures for point in trial.points}
        assert len(temperatures) == len(trial.points[0].exit_shares) and min(temperatures) > 0
    picked = SelectedModelOutputs.open(own, "best-accuracy")
    assert picked.state.point.policy.temperatures == pytest.approx(fitted(picked), rel=1e-6)
    lines = [json.loads(line) for line in (own / "trials.jsonl").read_text().splitlines()]
    assert all(point["policy"]["temperatures"] for line in lines for point in line["points"])


def test_calibration_error_falls_on_unseen_images_and_accuracy_stays(own):
    picked = SelectedModelOutputs.open(own, "best-accuracy")
    plain, table = picked.table("search"), picked.table_for(picked.state.point.policy, "search")
    assert np.array_equal(plain.correct_ne, table.correct_ne)
    before, after = (sum(found.ece for found in exit_reliability(each)) for each in (plain, table))
    assert after < 0.5 * before


def test_calibrate_finds_the_temperatures_that_are_there(own):
    policy = SelectedModelOutputs.open(own, "best-accuracy").state.point.policy
    assert calibrate(own, "best-accuracy", Goal.read(beta=0.5)).policy.temperatures == policy.temperatures
    assert calibrate(own, "best-accuracy", Goal.read(beta=0.5), temperatures=False).policy.temperatures == ()


def test_a_retrained_network_has_temperatures_of_its_own(own):
    _, picked = RunSession.open(own).pick("best-accuracy")
    policy = retrain(own, "best-accuracy")[1].policy
    assert policy.temperatures != picked.policy.temperatures
    assert policy.temperatures == pytest.approx(fitted(SelectedModelOutputs.open(own, "best-accuracy")), rel=1e-6)


def test_threshold_genes_apply_to_calibrated_probabilities(tmp_path_factory):
    run = searched_genes(tmp_path_factory)
    for trial in RunSession.open(run).run.trials():
        (point,) = trial.points
        assert trial.policy.temperatures == () != point.policy.temperatures
        assert point.policy == replace(trial.policy, temperatures=point.policy.temperatures)
    picked = SelectedModelOutputs.open(run, "best-accuracy")
    table = picked.table("search", fitted(picked))
    shares = picked.state.point.exit_shares
    threshold = picked.state.point.policy.thresholds[0]
    first = 0.0 if threshold is None else float((table.scores["margin"][:, 0] > np.float32(threshold)).mean())
    assert len(shares) == 1 or first == pytest.approx(shares[0])


def test_a_front_with_temperatures_begins_the_population_of_another_search(tmp_path_factory, tmp_path):
    """Genes don't encode temperatures, which must not exclude the genomes of a front."""
    earlier = RunSession.open(searched_genes(tmp_path_factory))
    strategy = {"name": "nsga2", "population": 4, "generations": 1, "init": f"from {earlier.run.folder}"}
    session = run_search(write_spec(tmp_path / "spec", GENES, strategy=strategy), tmp_path / "run")
    first = session.run.trials()[0]
    known = {(trial.architecture.id, trial.policy) for trial, _ in earlier.front()}
    assert (first.architecture.id, first.policy) in known
    session.space.encode(Candidate(first.architecture, first.policy))


def test_a_run_of_an_earlier_version_stays_as_it_was_calibrated(tmp_path):
    """Its policies have no temperatures: they, their ids and metrics stay; a retraining fits temperatures."""
    run = Path(shutil.copytree(EARLIER, tmp_path / "earlier")) / "run"
    session = RunSession.open(run)
    listed = {point["id"] for point in json.loads((run / "pareto.json").read_text())}
    assert {point.id for _, point in session.front()} == listed
    point_id = session.pick("cheapest")[1].id
    assert "temperatures" not in evaluate(run, point_id).point.policy.to_json()
    assert retrain(run, point_id)[1].policy.temperatures


def test_an_evaluation_of_an_earlier_version_is_read_under_present_names(tmp_path):
    run = Path(shutil.copytree(EARLIER, tmp_path / "earlier")) / "run"
    point_id = RunSession.open(run).pick("cheapest")[1].id
    evaluate(run, point_id)
    path = run / "picks" / f"{point_id}.json"
    record = json.loads(path.read_text())
    evaluation = record["test"]["evaluation"]
    earlier = {"shifts": [{"shift": "blur", "severity": 1, "accuracy": 0.5}], "unfamiliar": [{"images": "jumbled"}]}
    for key in ("exits", "ece_before", "corruptions", "ood"):
        evaluation.pop(key)
    evaluation |= earlier
    path.write_text(json.dumps(record))
    read = read_record(Run.open(run), point_id)["test"]["evaluation"]
    assert read["corruptions"] == [{"corruption": "blur", "severity": 1, "accuracy": 0.5}]
    assert read["ood"] == [{"images": "jumbled"}]
    export(run, point_id, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Probabilities are not calibrated: no temperatures were fitted." in card
