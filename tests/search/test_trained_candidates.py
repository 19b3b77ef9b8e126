"""Searches whose candidates are trained separately: fine-tuned or from scratch."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import EXPERIMENT, FEW_GENES, GENES, SPACE, TRAIN, Stopped, own_copy, write_spec
from typer.testing import CliRunner

from aebnas.cli.main import app
from aebnas.core.errors import UserError
from aebnas.core.metrics import SoftTarget
from aebnas.evaluation.evaluator import CandidateTraining, Evaluator, inherit
from aebnas.evaluation.operating_points import operating_point
from aebnas.policies.exit_table.tabulate import tabulate_for
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import MinExitByClass, StopHeads
from aebnas.runtime.normalise import normalise
from aebnas.search.loop import run_search
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model
from aebnas.space.ablation import ABLATIONS
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec

SETTINGS = {"batch_size": 64, "precision": "fp32", "recipe": "classic", "lr": 17.6}
SCRATCH = {
    "supernet": None,
    "evaluate": EXPERIMENT["evaluate"] | {"weights": "scratch(1)", "training": SETTINGS},
    "retrain": TRAIN | {"epochs": 1, "weights": "scratch"},
}
FINETUNE = {"evaluate": EXPERIMENT["evaluate"] | {"weights": "finetune(1)"}}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    base = tmp_path_factory.mktemp("scratch")
    run_search(write_spec(base / "spec", **SCRATCH), base / "run")
    return base / "run"


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    base = tmp_path_factory.mktemp("finetuned")
    run_search(write_spec(base / "spec", **FINETUNE), base / "run")
    return base / "run"


def trials(folder):
    return [trial.to_json() | {"seconds": 0} for trial in Run.open(folder).trials()]


def kept(folder):
    return {path.stem for path in (folder / "models").glob("*.safetensors")}


def on_front(folder):
    return {trial.architecture.id for trial, _ in RunSession.open(folder).front()}


@pytest.mark.parametrize("mode", ["scratch", "finetuned"])
def test_only_networks_on_the_front_have_weights(mode, request):
    folder = request.getfixturevalue(mode)
    session = RunSession.open(folder)
    assert kept(folder) == on_front(folder) and {trial.status for trial in session.run.trials()} == {"ok"}
    assert len(kept(folder)) < len(session.run.trials())
    for trial, point in session.front():
        chosen = load_selected_model(session, point.id)
        table = tabulate_for(point.policy, chosen.network, session.images.splits.search, session.images.preprocessing)
        measured = operating_point(trial.architecture.id, chosen.network.graph, point.policy, table)
        assert measured.metrics == pytest.approx(point.metrics)


def test_from_scratch_needs_no_supernet(scratch):
    assert not (scratch / "checkpoints").exists() and not (scratch / "train_epoch_metrics.csv").exists()
    assert set(Run.open(scratch).seconds()) == {"search"}
    assert json.loads((scratch / "protocol.json").read_text())["weights"] == "trained for 1 epochs from scratch"


def test_fine_tuning_starts_from_the_supernet_and_is_a_training(finetuned):
    assert (finetuned / "checkpoints" / "supernet.safetensors").exists()
    session = RunSession.open(finetuned)
    evaluator = candidate_evaluator(session, trained_supernet(session))
    architecture = session.space.extreme(largest=True)
    tuned = evaluator.network(architecture)

    def distance(other):
        pairs = zip(tuned.parameters(), other.parameters(), strict=True)
        return np.median([float((a - b).norm().detach()) for a, b in pairs])

    inherited = inherit(evaluator.supernet, architecture, evaluator.calibration)
    assert 0 < distance(inherited) < 0.5 * distance(evaluator.training.fresh(architecture, evaluator.calibration))


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_the_trials_are_the_same_in_process_and_with_two_workers(finetuned, tmp_path):
    spec = write_spec(tmp_path / "spec", evaluate=FINETUNE["evaluate"] | {"workers": 2})
    run_search(spec, tmp_path / "run")
    assert trials(tmp_path / "run") == trials(finetuned)
    assert kept(tmp_path / "run") == kept(finetuned)
    for name in kept(finetuned):
        weights = [run / "models" / f"{name}.safetensors" for run in (finetuned, tmp_path / "run")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_picked_candidate_is_evaluated_exported_and_retrained_at_once(scratch, tmp_path):
    run = own_copy(scratch, tmp_path)
    assessed = evaluate(run, "best-accuracy")
    point_id, source, point = assessed.id, assessed.source, assessed.point
    assert (
        source == "trained for 1 epochs from scratch" and point.policy == RunSession.open(run).pick(point_id)[1].policy
    )
    assert export(run, "best-accuracy", tmp_path / "out") == point_id
    with pytest.raises(
        UserError, match=r"has no supernet, since evaluate.weights is scratch\(1\); retrain from scratch"
    ):
        retrain(run, "best-accuracy", "supernet")
    assert retrain(run, "best-accuracy")[0] == point_id
    assert load_selected_model(RunSession.open(run), point_id).source == "retrained for 1 epochs from scratch"


def test_missing_weights_are_reported_and_replaced_by_retraining(scratch, tmp_path):
    run = own_copy(scratch, tmp_path)
    for path in (run / "models").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match=r"weights are missing; retrain the point first: aebnas retrain --pick"):
        evaluate(run, "cheapest")
    retrain(run, "cheapest")
    assert evaluate(run, "cheapest").source.startswith("retrained")


@pytest.mark.parametrize("after", [2, 6])
def test_a_killed_search_trains_candidates_in_flight_again(scratch, tmp_path, monkeypatch, scored, after):
    spec, score = write_spec(tmp_path / "spec", **SCRATCH), Evaluator.score

    def killed(self, architecture, *more):
        if len(scored) == after:
            raise Stopped
        return score(self, architecture, *more)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Evaluator, "score", killed)
        run_search(spec, tmp_path / "run")
    run_search(spec, tmp_path / "run")
    assert len(scored) == 8
    assert trials(tmp_path / "run") == trials(scratch)
    assert kept(tmp_path / "run") == kept(scratch)


def test_a_loss_that_is_not_a_number_is_a_failed_trial(tmp_path, monkeypatch):
    fresh, drawn = CandidateTraining.fresh, []

    def spoilt(self, architecture, calibration):
        network = fresh(self, architecture, calibration)
        drawn.append(architecture.id)
        if len(drawn) == 2:
            with torch.no_grad():
                next(network.parameters()).fill_(float("nan"))
        return network

    monkeypatch.setattr(CandidateTraining, "fresh", spoilt)
    run_search(write_spec(tmp_path / "spec", **SCRATCH), tmp_path / "run")
    status = [trial.status for trial in Run.open(tmp_path / "run").trials()]
    assert (status.count("failed"), len(status)) == (1, 8)
    reason = Run.open(tmp_path / "run").trials()[1].reason
    assert reason.startswith(
        f"candidate {drawn[1]}: the loss must stay finite, but got nan in epoch 1; lower lr (17.6)"
    )


def test_candidates_that_differ_in_policy_only_have_the_weights_of_their_architecture(tmp_path):
    """Four generations of a space of two architectures: some leave the front and return with another policy."""
    strategy = {"name": "random", "population": 4, "generations": 4}
    run = run_search(write_spec(tmp_path / "spec", FEW_GENES, **SCRATCH | {"strategy": strategy}), tmp_path / "run").run
    assert kept(run.folder) == on_front(run.folder)
    assert len({trial.architecture.id for trial in run.trials()}) == 2 < len(run.trials())


def test_weights_depend_only_on_seed_and_architecture(scratch, architectures):
    session = RunSession.open(scratch)
    evaluator = candidate_evaluator(session, None)
    a, b = architectures(session.space, 2)
    seeds = {evaluator.training.seed_of(a), evaluator.training.seed_of(b)}
    seeds.add(CandidateTraining(evaluator.training.spec, evaluator.training.batches, 12).seed_of(a))
    assert len(seeds) == 3
    first, second = evaluator.network(a), evaluator.network(a)
    assert all(torch.equal(x, y) for x, y in zip(first.parameters(), second.parameters(), strict=True))


def test_a_missing_gpu_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    changed = SCRATCH | {"evaluate": SCRATCH["evaluate"] | {"gpus_per_worker": 0.5}}
    with pytest.raises(UserError, match=r"evaluate\.gpus_per_worker: must be 0, since no GPU is available"):
        run_search(write_spec(tmp_path / "spec", **changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


TUNED = {"target": {"metric": "avg_macs", "value": 3e4, "weight": 0.1, "tune_thresholds": True}}


def test_thresholds_are_tuned_to_the_target_on_calibrate(tmp_path):
    """AEBNAS's protocol in small: fine-tuning, a grid of thresholds, the soft target."""
    session = run_search(write_spec(tmp_path / "spec", GENES, **FINETUNE | TUNED), tmp_path / "run")
    found = session.run.trials()
    assert len(found) == 8 == len({trial.architecture.id for trial in found})
    assert all(trial.policy is None and len(trial.points) == 1 for trial in found)
    trial, point = session.pick("best-accuracy")
    network = load_selected_model(session, "best-accuracy").network
    table = tabulate_for(point.policy, network, session.images.splits.calibrate, session.images.preprocessing)

    def goal(policy):
        return SoftTarget("avg_macs", 3e4, 0.1).minimised(
            operating_point(trial.architecture.id, lower(trial.architecture), policy, table).metrics
        )[0]

    temperatures = point.policy.temperatures
    choices = list(product((0.2, 0.6, None), repeat=len(trial.architecture.exits)))
    grid = [ExitPolicy("margin", thresholds, temperatures=temperatures) for thresholds in choices]
    assert point.policy in grid and goal(point.policy) == pytest.approx(min(map(goal, grid)))
    retrained = retrain(session.run.folder, "best-accuracy")[1].policy
    assert retrained.thresholds in choices and retrained.temperatures not in ((), temperatures)


def test_a_target_that_cannot_be_tuned_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"tune_thresholds: must be false, since the space has no threshold genes"):
        run_search(write_spec(tmp_path / "spec", **TUNED), tmp_path / "run")
    genes = {"criterion": "margin", "thresholds": {"genes": [i / 32 for i in range(32)]}}
    stages = [SPACE["stages"][0] | {"depth": 4}, SPACE["stages"][1]]
    places = ["stage1", "stage1.block1", "stage1.block2", "stage1.block3"]
    many = SPACE | {"stages": stages, "policy": genes, "exits": {"at": places}}
    with pytest.raises(UserError, match=r"a grid of at most 1,000,000 combinations, but got 1,048,576"):
        run_search(write_spec(tmp_path / "spec", many, **TUNED), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ablation", sorted(ABLATIONS))
def test_an_ablation_is_one_command(tmp_path, monkeypatch, ablation):
    monkeypatch.chdir(tmp_path)
    spec = write_spec(tmp_path / "spec", **SCRATCH)
    result = CliRunner().invoke(app, ["search", str(spec), "--ablation", ablation], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    session = RunSession.open(Path("results") / f"tiny-{ablation}")
    assert session.space.spec == ABLATIONS[ablation](SpaceSpec.model_validate(SPACE))
    assert len(session.run.trials()) >= 4 and session.front()


HEADS = {"exits": {"stop_heads": True}}
RULES = SPACE | {
    "exits": {"at": ["stage1.block1", "stage1"], "optional": False},
    "policy": {
        "criterion": ["learned", "dual", "patience", "margin"],
        "stop_thresholds": [0.2, 0.6],
        "min_exit_by_class": {3: "stage1", 4: "last"},
        "thresholds": {"optimise": {"per_exit": 6, "max_points": 30}},
    },
}


@pytest.fixture(scope="module")
def ruled(tmp_path_factory):
    """A search over every kind of rule, its candidates trained with stop heads."""
    base = tmp_path_factory.mktemp("ruled")
    changes = SCRATCH | {
        "evaluate": SCRATCH["evaluate"] | {"training": SETTINGS | HEADS},
        "retrain": SCRATCH["retrain"] | HEADS,
        "strategy": {"name": "random", "population": 4, "generations": 1},
    }
    run_search(write_spec(base / "spec", RULES, **changes), base / "run")
    return base / "run"


def test_every_rule_is_searched_and_runs_as_it_was_scored(ruled):
    session = RunSession.open(ruled)
    points = [point for trial in session.run.trials() for point in trial.points]
    assert {point.policy.criterion for point in points} >= {"learned", "margin"}
    assert any(point.policy.find(StopHeads) for point in points)
    search = session.images.splits.search
    for _, point in session.front()[:3]:
        chosen = load_selected_model(session, point.id)
        assert all(graph_exit.stop for graph_exit in chosen.network.graph.exits[:-1])
        answer = chosen.network.infer(normalise(search.pixels(), session.images.preprocessing), point.policy)
        right = (answer.logits.argmax(-1) == search.labels).float().mean()
        assert float(right) == pytest.approx(point.metrics["accuracy"])
        if point.policy.find(MinExitByClass) is not None:
            assert not ((answer.logits.argmax(-1) == 4) & (answer.exit_index < len(point.exit_shares) - 1)).any()


def test_criteria_with_stop_heads_are_searched_without_early_exits(tmp_path):
    changes = SCRATCH | {
        "evaluate": SCRATCH["evaluate"] | {"training": SETTINGS | HEADS},
        "retrain": SCRATCH["retrain"] | HEADS,
        "strategy": {"name": "random", "population": 4, "generations": 1},
    }
    session = run_search(write_spec(tmp_path / "spec", RULES, **changes), tmp_path / "run", "backbone-only")
    assert [trial.status for trial in session.run.trials()] == ["ok"] * 4
    assert retrain(tmp_path / "run", "knee")[1].policy.thresholds == ()


def test_rules_survive_retraining_and_export(ruled, tmp_path):
    point_id, point = retrain(ruled, "best-accuracy")
    assert load_selected_model(RunSession.open(ruled), point_id).policy == point.policy
    export(ruled, point_id, tmp_path / "out")  # checks itself
