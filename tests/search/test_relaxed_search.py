"""A whole search by relaxed networks: trials, files, resuming, commands, and its front as initial population."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import torch
from tiny_darts import DARTS, SPACE
from tiny_run import own_copy, write_spec
from typer.testing import CliRunner

from aebnas.cli.main import app
from aebnas.core.errors import UserError
from aebnas.report.relaxed_table import relaxed_rows
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.weight_files import load_weights
from aebnas.search.loop import resume_search, run_search
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a finished run; none may change it."""
    folder = tmp_path_factory.mktemp("relaxed")
    spec = write_spec(folder / "spec", SPACE, **DARTS)
    run_search(spec, folder / "run")
    return folder / "run"


def test_trials_are_of_every_lambda_and_form(searched):
    session = RunSession.open(searched)
    trials = session.run.trials()
    assert [t.origin for t in trials] == [
        f"adaptive_darts lambda {weight} {form}" for weight in ("0.05", "1") for form in ("static", "adaptive")
    ]
    assert all(t.status == "ok" for t in trials)
    assert all(t.architecture.stop_heads for t in trials)
    assert not any(t.architecture.adaptive for t in trials[::2])
    point = trials[0].points[0]
    assert {"accuracy", "avg_macs", "params", "weight_bytes"} <= point.metrics.keys()


def test_the_files_of_the_protocol_are_there(searched):
    for name in ("protocol", "env_info", "config", "summary"):
        assert json.loads((searched / f"{name}.json").read_text())
    assert (searched / "pip_freeze.txt").exists()
    read = json.loads((searched / "protocol.json").read_text())["splits_read_by_search"]
    assert read == ["train", "arch", "calibrate", "search"]
    rows = pd.read_csv(searched / "train_epoch_metrics.csv")
    assert sorted(set(rows.phase)) == ["relaxed lambda-0.05", "relaxed lambda-1"]
    assert {"exit1_accuracy", "exit2_accuracy", "expected_cost", "lambda", "temperature"} <= set(rows.columns)
    report = json.loads((searched / "relaxed" / "lambda-1.json").read_text())
    assert 0 < report["soft"]["expected_macs"] < report["soft"]["macs_run"]
    for form in ("static", "adaptive"):
        for when in ("hard", "trained"):
            figures = report["forms"][form][when]
            assert 0 <= figures["accuracy"] <= 1 and set(figures["macs"]) == {"mean", "p90", "worst"}
            assert set(figures["top_accuracy"]) == {"1", "5"} and 0 <= figures["ece"] <= 1
        assert {"stop", "confidence", "accuracy", "exit"} == set(report["forms"][form]["calibration"][0])


def test_discrete_architectures_train_on_the_arch_split_as_well(searched):
    session = RunSession.open(searched)
    train, arch = len(session.images.splits.train), len(session.images.splits.arch)
    evaluator = candidate_evaluator(session, None)
    assert len(evaluator.training.batches.images) == train + arch > len(evaluator.relaxed.batches.images) == train


def test_soft_and_hard_networks_are_shown(searched):
    rows = relaxed_rows(Run(searched))
    assert [row[:2] for row in rows] == [
        (f"lambda {w}", form) for w in ("0.05", "1") for form in ("static", "adaptive")
    ]
    report = json.loads((searched / "relaxed" / "lambda-1.json").read_text())
    figures = report["forms"]["adaptive"]["trained"]
    assert rows[-1][2] == f"{100 * report['soft']['accuracy']:.2f}%"
    assert rows[-1][-2:] == (f"{100 * figures['accuracy']:.2f}%", f"{figures['macs']['mean'] / 1e6:.3g}M")
    shown = CliRunner().invoke(app, ["show", str(searched)]).stdout
    assert all(cell in shown for row in rows for cell in row)


def test_the_saved_relaxed_network_can_be_looked_at_again(searched):
    session = RunSession.open(searched)
    again = RelaxedNetwork(session.space.spec, 2, True, torch.Generator().manual_seed(0))
    load_weights(again, searched / "relaxed" / "lambda-1.safetensors")
    assert again.alpha_gk.abs().max() > 0.01


def test_resuming_a_finished_search_trains_nothing(searched, tmp_path, monkeypatch):
    run = own_copy(searched, tmp_path)
    before = (run / "pareto.csv").read_bytes()
    monkeypatch.setattr("aebnas.evaluation.evaluator.Evaluator.relax", lambda *a: pytest.fail("trained again"))
    resume_search(run)
    assert (run / "pareto.csv").read_bytes() == before


def test_a_training_that_fails_makes_failed_trials(tmp_path):
    spec = write_spec(tmp_path, SPACE, **DARTS | {"relaxed": DARTS["relaxed"] | {"lr": 1e30}})
    with pytest.raises(UserError, match=r"the most frequent reason \(\d trials\): .*the loss must stay finite"):
        run_search(spec, tmp_path / "run")
    assert {t.status for t in RunSession.open(tmp_path / "run").run.trials()} == {"failed"}


def adaptive_pick(run):
    """The id of a point of an adaptive network, on the front or put there."""
    return next((p.id for t, p in RunSession.open(run).front() if t.architecture.adaptive), None)


def test_no_norm_of_a_scored_or_retrained_network_is_left_at_its_initial_statistics(searched, tmp_path):
    run = own_copy(searched, tmp_path)
    session = RunSession.open(run)
    adaptive = [t.points[0].id for t in session.run.trials() if t.architecture.adaptive]
    ids = [point.id for _, point in session.front()]
    for rule in ids:
        assert untouched_norms(load_selected_model(session, rule).network) == []
    rule = next((point_id for point_id in ids if point_id in adaptive), ids[0])
    retrain(run, rule)
    assert untouched_norms(load_selected_model(RunSession.open(run), rule).network) == []


def untouched_norms(network):
    norms = [(n, m) for n, m in network.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    return [name for name, norm in norms if not norm.running_mean.any() or (norm.running_var == 1).all()]


def test_verbs_work_unchanged(searched, tmp_path):
    run = own_copy(searched, tmp_path)
    rule = adaptive_pick(run) or "best-accuracy"
    chosen = load_selected_model(RunSession.open(run), rule)
    assert "fine-tuned for 1 epochs from its relaxed network's" in chosen.source
    assert evaluate(run, rule).point.metrics["avg_macs"] > 0
    export(run, rule, tmp_path / "out")
    check = subprocess.run(
        [sys.executable, "model.py", "--check"], cwd=tmp_path / "out", capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr
    _, point = retrain(run, rule)
    assert point.architecture_id == chosen.trial_point[0].architecture.id


def test_an_adaptive_pick_is_not_retrained_from_scratch(searched, tmp_path):
    run = own_copy(searched, tmp_path)
    if (rule := adaptive_pick(run)) is None:
        pytest.skip("this training left no adaptive network on the front")
    with pytest.raises(UserError, match="must be retrained from kept weights"):
        retrain(run, rule, "scratch")


def test_its_front_begins_the_population_of_another_search(searched, tmp_path):
    static = {t.architecture.id for t, _ in RunSession.open(searched).front() if not t.architecture.adaptive}
    nsga2 = {"name": "nsga2", "population": 4, "generations": 1, "init": f"from {searched}"}
    changes = {"strategy": nsga2, "evaluate": {"weights": "scratch(1)"}, "retrain": DARTS["retrain"]}
    spec = write_spec(tmp_path, SPACE, **changes)
    if not static:
        with pytest.raises(UserError, match=r"strategy\.init: must name a run with an architecture of this space"):
            run_search(spec, tmp_path / "run")
        return
    session = run_search(spec, tmp_path / "run")
    first = session.run.trials()[0].architecture
    assert str(first) in {
        str(t.architecture).removesuffix(" | stop heads") for t in RunSession.open(searched).run.trials()
    }


def test_a_supernet_serves_a_dag_space(tmp_path):
    session = run_search(write_spec(tmp_path, SPACE), tmp_path / "run")
    assert all(t.status == "ok" for t in session.run.trials())
