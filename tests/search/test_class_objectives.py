"""A whole run whose objectives and constraints are accuracies over classes, with classes given by name."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, recall_score
from tiny_run import EXPERIMENT, SPACE, write_spec

from aebnas.core.errors import SpecError
from aebnas.core.metrics import METRICS
from aebnas.evaluation.operating_points import make_trial
from aebnas.report.compare import compare_runs
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet
from aebnas.runtime.normalise import normalise
from aebnas.search.loop import run_search
from aebnas.search.plan import make_plan
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model
from aebnas.selected.sweep import sweep
from aebnas.strategies.strategy import Job

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
OVER_CLASSES = ("balanced_accuracy", "worst_class_accuracy")
CHANGES = {
    "data": EXPERIMENT["data"] | {"class_names": NAMES},
    "objectives": ["avg_macs", "balanced_accuracy"],
    "constraints": ["balanced_accuracy >= 0.2"],
    "classes": {"weights": {"three": 2.0, "eight": 1.5}},
    "supernet": EXPERIMENT["supernet"]
    | {"epochs": 6, "batch_size": 32, "lr": 70.4, "weight_decay": 0.0352, "warmup": 0.17},
}


def by_class(**classes):
    return SPACE | {"policy": SPACE["policy"] | {"min_exit_by_class": classes}}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    base = tmp_path_factory.mktemp("over_classes")
    return run_search(write_spec(base / "spec", by_class(three="last"), **CHANGES), base / "run")


def test_the_points_state_the_accuracies_of_the_running_network(session):
    front = session.front()
    assert front and all(point.metrics["balanced_accuracy"] >= 0.2 for _, point in front)
    search = session.images.splits.search
    for _, point in front[:2]:
        model = load_selected_model(session, point.id)
        answer = model.network.infer(normalise(search.pixels(), session.images.preprocessing), point.policy)
        predicted_n = answer.logits.argmax(1)
        assert point.metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(search.labels, predicted_n))
        worst = recall_score(search.labels, predicted_n, average=None).min()
        assert point.metrics["worst_class_accuracy"] == pytest.approx(worst)
        assert not ((predicted_n == 3) & (answer.exit_index < len(point.exit_shares) - 1)).any()


def test_thresholds_are_found_for_the_balanced_accuracy(session):
    evaluator = candidate_evaluator(session, trained_supernet(session))
    space, constraints, differs = session.space.spec, session.experiment.parsed_constraints(), False
    for trial in session.run.trials():
        job, tables = Job(trial.architecture, None, trial.origin), evaluator.score(trial.architecture).tables
        arguments = trial.number, job, tables, space, constraints, None, trial.seconds
        assert make_trial(*arguments, accuracy="balanced_accuracy") == replace(trial, pflop=None)
        differs |= make_trial(*arguments).points != trial.points
    assert differs


def test_the_front_is_written_picked_and_compared_by_them(session):
    folder = session.run.folder
    table = pd.read_csv(folder / "pareto.csv")
    assert list(table.columns[:5]) == ["id", "accuracy", "avg_macs", "avg_macs_taken_only", "params"]
    assert set(OVER_CLASSES) <= set(table.columns)
    best = session.pick("best-accuracy")[1]
    assert best.metrics["balanced_accuracy"] == table["balanced_accuracy"].max()
    bound = table["worst_class_accuracy"].median()
    picked = session.pick(f"worst_class_accuracy>={bound}")[1]
    assert picked.metrics["avg_macs"] == table.loc[table["worst_class_accuracy"] >= bound, "avg_macs"].min()
    assert session.facts.max_costs.keys() == {"avg_macs"}
    summary = json.loads((folder / "summary.json").read_text())
    assert 0 < summary["hypervolume"] < 1
    with pytest.raises(ValueError, match="different runs"):
        compare_runs([folder, folder])
    copy = folder.with_name("copy")
    copy.symlink_to(folder)
    compared = compare_runs([folder, copy.parent / "run" / ".." / "copy"])
    assert compared.hypervolumes[0] == pytest.approx(summary["hypervolume"])
    assert compared.reference["balanced_accuracy"] == 0


def test_retrain_and_sweep_find_policies_for_it(session):
    _, point = retrain(session.run.folder, "best-accuracy", weights="scratch", epochs=1)
    assert set(OVER_CLASSES) <= point.metrics.keys()
    found = sweep(session.run.folder, "best-accuracy", methods=("auto",)).table
    assert set(OVER_CLASSES) <= set(found.columns) and "calibrate_balanced_accuracy" in found.columns
    assert found["calibrate_balanced_accuracy"].is_monotonic_increasing
    assert (found["worst_class_accuracy"] <= found["balanced_accuracy"]).all()


def test_a_run_keeps_numbers_where_the_space_gives_names(session, tmp_path):
    """So that names and numbers are the same run, and earlier runs stay what they are."""
    config = json.loads((session.run.folder / "config.json").read_text())
    assert config["space"]["policy"]["min_exit_by_class"] == {"3": "last"}
    assert config["experiment"]["classes"]["weights"] == {"three": 2.0, "eight": 1.5}
    assert RunSession.open(session.run.folder).space.spec.policy.min_exit_by_class == {3: "last"}
    spellings = [by_class(**{"three": "stage1", "nine": "last"}), by_class(**{"9": "last", "3": "stage1"})]
    spaces = [make_plan(write_spec(tmp_path, space, **CHANGES)).space.spec for space in spellings]
    assert spaces[0] == spaces[1]
    assert spaces[0].model_dump_json() == spaces[0].model_validate(spaces[0].model_dump(mode="json")).model_dump_json()


def test_weights_of_the_loss_are_those_of_the_classes_named(session):
    weights = session.images.training_batches(64).class_weights
    assert (weights[3] / weights[0], weights[8] / weights[0]) == (pytest.approx(2.0), pytest.approx(1.5))
    assert float(weights[session.images.splits.train.labels].mean()) == pytest.approx(1.0)


def test_balanced_sampling_is_of_training_and_of_norm_statistics(session):
    """Which are estimated on images drawn as in training."""
    experiment = session.experiment.model_copy(
        update={"classes": session.experiment.classes.model_validate({"sampling": "balanced"})}
    )
    balanced = RunSession(session.run, experiment, session.space, session.base)
    assert balanced.images.training_batches(64).balanced and balanced.images.training_batches(64).class_weights is None
    plain, drawn = session.images.calibration(256), balanced.images.calibration(256)
    assert [x.shape for x in plain] == [x.shape for x in drawn] and not torch.equal(plain[0], drawn[0])


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        (
            by_class(tree="last"),
            {},
            "space.yaml: policy.min_exit_by_class.tree: must be one of the data's classes (zero, one, two, three, "
            "four, five, six, seven, ...), but got 'tree', did you mean 'three'?",
        ),
        (
            SPACE,
            {"classes": {"weights": {"eigt": 2.0}}},
            "tiny.yaml: classes.weights.eigt: must be one of the data's classes (zero, one, two, three, four, five, "
            "six, seven, ...), but got 'eigt', did you mean 'eight'?",
        ),
    ],
)
def test_an_unknown_class_is_refused_before_anything_runs(tmp_path, space, changes, message):
    with pytest.raises(SpecError) as refused:
        make_plan(write_spec(tmp_path, space, **CHANGES | changes))
    assert str(refused.value).endswith(message)


def test_metrics_over_classes_are_shares():
    for name in OVER_CLASSES:
        assert (METRICS[name].direction, METRICS[name].unit, METRICS[name].static) == ("max", "fraction", False)
