"""The policy study on a small run: each part by itself, from recorded outputs, with figures that policies keep."""

import json
import runpy
import sys

import pandas as pd
import pytest
from tiny_run import certified, own_copy


@pytest.fixture
def study(root, tmp_path_factory, tmp_path, monkeypatch):
    """Runs the study's parts on a copy of a small run and gives the folder it wrote to."""
    run = own_copy(certified(tmp_path_factory), tmp_path)

    def parts(*names):
        arguments = ["policies_study.py", str(run), "--out", str(tmp_path / "out"), "--parts", *names]
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_path(str(root / "experiments" / "policies_study.py"), run_name="__main__")
        return tmp_path / "out"

    return parts


def test_the_difficulty_part_alone(study):
    out = study("difficulty")
    assert sorted(path.name for path in out.iterdir()) == ["difficulty.csv", "difficulty.json"]
    facts = json.loads((out / "difficulty.json").read_text())
    assert facts["difficulty"]["terms_version"] == 2 and 0 < facts["mean_alpha"] < 1
    assert set(facts["auc_of_wrong_at_exit_1"]) == {"difficulty", "confidence"}
    table = pd.read_csv(out / "difficulty.csv")
    assert {"joint grid", "joint grid, Eq. 19", "value iteration, difficulty bins"} <= set(table["method"])
    without = table[table["method"] == "joint grid"]
    assert (without[["gain", "gain_low", "gain_high"]] == 0).all(axis=None)
    for _, same_budget in table.groupby("budget"):
        base = same_budget.iloc[0]["accuracy"]
        assert same_budget["gain"].tolist() == pytest.approx((same_budget["accuracy"] - base).tolist(), abs=1e-5)
    assert (table["gain_low"] <= table["gain"]).all() and (table["gain"] <= table["gain_high"]).all()


def test_all_contenders_and_the_adaptation(study):
    out = study("policies", "adaptation")
    wanted = {"adaptation.json", "budgets.csv", "daes.csv", "points.csv", "policies.png", "study.json"}
    assert {path.name for path in out.iterdir()} == wanted | {"trajectories.png"}
    budgets, points = pd.read_csv(out / "budgets.csv"), pd.read_csv(out / "points.csv")
    assert {"BranchyNet", "RL agent", "DART", "joint grid"} <= set(budgets["method"]) & set(points["method"])
    assert (pd.read_csv(out / "daes.csv")["daes"] > 0).all()
    assert len(json.loads((out / "study.json").read_text())["promises"]) == 7
