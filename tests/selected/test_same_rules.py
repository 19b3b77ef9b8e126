"""Search, retrain, calibrate, sweep and a re-tuned export try the same stopping rules for one network."""

import json

import numpy as np
import pandas as pd
import pytest
from tiny_run import SPACE, TRAIN, own_copy, write_spec

from aebnas.core.errors import UserError
from aebnas.export.recalibrate import retune
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.find import find
from aebnas.policies.threshold_search.goal import Goal
from aebnas.run.session import RunSession
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.search.loop import run_search
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.selected.retrain import retrain
from aebnas.selected.sweep import sweep
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec

HEADS = {"exits": {"stop_heads": True}}
STAGES = [{"width": 4, "depth": 2, "op": "basic"}, {"width": 8, "depth": 1, "stride": 2, "op": "basic"}]
POLICY = {
    "criterion": ["margin", "entropy"],
    "stop_thresholds": [0.2, 0.6],
    "thresholds": {"optimise": {"per_exit": 6, "max_points": 100, "method": "lagrangian"}},
}
ALL_RULES = PolicySpec(criterion=("margin", "entropy", "learned", "dual"), stop_thresholds=(0.2, 0.6))
"""The criteria of the space, and those that the stop heads add."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A search of one architecture whose candidates and picks are trained with stop heads that no rule names."""
    base = tmp_path_factory.mktemp("rules")
    space = SPACE | {"stages": STAGES, "exits": {"at": ["stage1.block1", "stage1"], "optional": False}}
    spec = write_spec(
        base / "spec",
        space | {"policy": POLICY},
        data={"name": "digits", "splits": {"search": 0.15, "calibrate": 0.2, "certify": 0.2}},
        supernet=None,
        evaluate={
            "weights": "scratch(2)",
            "calibration_images": 128,
            "training": {"recipe": "classic", "lr": 17.6, "batch_size": 64} | HEADS,
        },
        retrain=TRAIN | {"weights": "kept", "epochs": 1, "lr": 8.8} | HEADS,
        strategy={"name": "random", "population": 4, "generations": 1},
    )
    run_search(spec, base / "run")
    return base / "run"


def expected(outputs, per_exit=6):
    """The frontier of all rules on the outputs of the pick's network on `calibrate`, under its temperatures."""
    table = outputs.table("calibrate", outputs.state.point.policy.temperatures)
    return find(table, ALL_RULES, OptimiseSpec(per_exit=per_exit, method="lagrangian"))


def test_the_search_finds_policies_of_all_rules(run):
    outputs = SelectedModelOutputs.open(run, "best-accuracy")
    found = {point.policy for trial in outputs.session.run.trials() for point in trial.points}
    assert found == {point.policy for point in expected(outputs).points}
    assert any(policy.needs_stop_heads for policy in found)


def test_retraining_searches_them_too(run, tmp_path):
    copy = own_copy(run, tmp_path)
    _, picked = RunSession.open(copy).pick("cheapest")
    _, point = retrain(copy, picked.id)
    found = expected(SelectedModelOutputs.open(copy, picked.id))
    assert point.policy == found.within(picked.metrics["avg_macs"]).policy


def test_calibrate_sweep_and_the_test_report_search_them_too(run, tmp_path):
    copy = own_copy(run, tmp_path)
    found = calibrate(copy, "best-accuracy", Goal.read(beta=0.5), per_exit=6)
    outputs = SelectedModelOutputs.open(copy, "best-accuracy")
    frontier = {point.policy for point in expected(outputs).points}
    assert found.method == "lagrangian" and {point.policy for point in found.tuned.found.points} == frontier
    swept = pd.read_csv(sweep(copy, "best-accuracy", ("lagrangian",), per_exit=6).csv)
    assert {ExitPolicy.from_json(json.loads(text)) for text in swept["policy"]} == frontier
    report = evaluate(copy, "best-accuracy").evaluation
    finest = expected(outputs, per_exit=20)
    test = outputs.table("test", found.policy.temperatures)
    on_test = [score_policy(test, point.policy) for point in finest.thinned(40).points]
    assert [row["accuracy"] for row in report.frontier] == [figures.accuracy for figures in on_test]


def test_an_export_is_re_tuned_by_them_without_the_run(run, tmp_path):
    export(run, "best-accuracy", tmp_path / "out")
    outputs = SelectedModelOutputs.open(run, "best-accuracy")
    train = outputs.session.images.splits.train
    np.savez(tmp_path / "new.npz", x=train.pixels().permute(0, 2, 3, 1).numpy(), y=train.labels.numpy())
    rules = set()
    for beta in (0.0, 0.3, 0.6, 1.0):
        rules.add(retune(tmp_path / "out", tmp_path / "new.npz", Goal.read(beta=beta), per_exit=6).policy.label)
    recorded = json.loads((tmp_path / "out" / "card.json").read_text())["rules"]
    assert recorded == {key: POLICY[key] for key in ("criterion", "stop_thresholds")} | {
        "patience": [2],
        "method": "lagrangian",
    }
    assert len(rules) > 1, rules


def test_rules_of_a_damaged_card_are_refused_with_their_place(run, tmp_path):
    export(run, "best-accuracy", tmp_path / "out")
    card = tmp_path / "out" / "card.json"
    facts = json.loads(card.read_text())
    card.write_text(json.dumps(facts | {"rules": {"criterion": ["magic"]}}))
    train = RunSession.open(run).images.splits.train
    np.savez(tmp_path / "new.npz", x=train.pixels().permute(0, 2, 3, 1).numpy(), y=train.labels.numpy())
    with pytest.raises(UserError, match=r"card.json: rules.criterion.0: must be .* but got 'magic'"):
        retune(tmp_path / "out", tmp_path / "new.npz", Goal.read(beta=0.5))
