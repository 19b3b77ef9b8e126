import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_run import EXPERIMENT, own_copy, searched, write_spec

import aebnas
from aebnas import api
from aebnas.core.errors import UserError
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.runtime.normalise import normalise

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return searched(tmp_path_factory)


@pytest.fixture
def own(finished, tmp_path):
    return api.open_run(own_copy(finished, tmp_path))


def test_the_front_is_pareto_csv(finished):
    run = api.open_run(str(finished))
    pd.testing.assert_frame_equal(
        run.front(), pd.read_csv(finished / "pareto.csv", dtype={"thresholds": str}).fillna("")
    )


def test_the_trials_hold_every_operating_point(finished):
    run = api.open_run(finished)
    table, trials = run.trials(), Run.open(finished).trials()
    assert list(table.id) == [point.id for trial in trials for point in trial.points]
    assert list(table[table.on_front].id.sort_values()) == sorted(run.front().id)
    assert list(table.trial) == [trial.number for trial in trials for _ in trial.points]
    assert (table.status == "ok").all() and (table.reason == "").all()


def test_a_trial_without_points_has_a_row(own):
    first, *rest = own._session.run.trials_file.read_text().splitlines()
    failed = json.loads(first) | {"status": "failed", "points": [], "reason": "out of luck"}
    own._session.run.trials_file.write_text("\n".join([json.dumps(failed), *rest]) + "\n")
    row = own.trials().iloc[0]
    assert (row.trial, row.status, row.reason, bool(row.on_front)) == (0, "failed", "out of luck", False)
    assert pd.isna(row.accuracy)


def test_metrics_and_summary_are_the_runs_files(own):
    pd.testing.assert_frame_equal(own.metrics(), pd.read_csv(own.folder / "train_epoch_metrics.csv"))
    assert own.summary == json.loads((own.folder / "summary.json").read_text())
    (own.folder / "train_epoch_metrics.csv").unlink()
    (own.folder / "summary.json").unlink()
    assert own.metrics().empty
    with pytest.raises(UserError, match=r"summary\.json"):
        _ = own.summary


def test_a_pick_is_what_the_command_line_picks(finished):
    run = api.open_run(finished)
    for rule in ("knee", "best-accuracy", "avg_macs <= 30e3"):
        trial, point = RunSession.open(finished).pick(rule)
        picked = run.pick(rule)
        assert (picked.id, picked.architecture, picked.policy) == (point.id, trial.architecture, point.policy)
        assert picked.metrics == point.metrics and point.id in repr(picked)
    with pytest.raises(UserError, match="but got 'fastest'"):
        run.pick("fastest")


def test_a_pick_is_evaluated_retrained_and_exported(own, tmp_path):
    picked = own.pick("best-accuracy")
    before = picked.evaluate()
    assert before["source"] == "inherited from the supernet" and before["samples"] == 360
    assert before["accuracy_low"] < before["accuracy"] < before["accuracy_high"]
    assert before["search_accuracy"] == picked.metrics["accuracy"]
    assert before["difference"] == before["search_accuracy"] - before["accuracy"]
    same = own.pick("best-accuracy").retrain(weights="scratch", epochs=1)
    assert same.id == picked.id
    after = picked.evaluate()  # the pick reads its record, also after another process retrained it
    assert after["source"] == "retrained for 1 epochs from scratch"
    assert after["search_accuracy"] == picked.metrics["accuracy"] != before["search_accuracy"]
    assert picked.export(str(tmp_path / "out")) == tmp_path / "out"
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{after['accuracy']:.4g}" in card and "retrained for 1 epochs from scratch" in card


def test_the_network_gives_what_was_scored(finished):
    picked, session = api.open_run(finished).pick("best-accuracy"), RunSession.open(finished)
    search, network = session.images.splits.search, picked.network()
    with torch.no_grad():
        answer = network.infer(normalise(search.pixels(), session.images.preprocessing), picked.policy)
    right = (answer.logits.argmax(1) == search.labels).double().mean()
    assert float(right) == pytest.approx(picked.metrics["accuracy"])


def test_a_spec_may_be_a_mapping(tmp_path, monkeypatch):
    write_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="out: is required when the spec is a mapping"):
        api.search(EXPERIMENT)
    with pytest.raises(UserError, match=r"spec: strategy.population: must .*, but got 'many'"):
        api.search(EXPERIMENT | {"strategy": {"population": "many"}}, "run")
    assert not (tmp_path / "run").exists()
    few = EXPERIMENT["strategy"] | {"generations": 1}
    run = api.search(EXPERIMENT | {"strategy": few, "seed": 5}, "run", deterministic=True)
    reported = Run.open(tmp_path / "run").config()["experiment"]
    assert (reported["seed"], reported["deterministic"]) == (5, True) and len(run.front())
    assert api.open_run("run").front().equals(run.front())


def test_runs_are_compared_as_a_table(own, tmp_path):
    second = own_copy(own.folder, tmp_path / "more").rename(tmp_path / "more" / "second")
    table = api.compare([own, second])
    assert list(table.run) == ["run", "second"] and table.hypervolume.nunique() == 1
    assert table.attrs["reference"]["accuracy"] == 0 and table.attrs["warnings"] == []


def test_seeds_are_a_table_of_picks(tmp_path):
    spec = write_spec(tmp_path / "spec", strategy=EXPERIMENT["strategy"] | {"generations": 1})
    seeds = api.search_seeds(spec, [1, 2], tmp_path / "run", picks=["avg_macs <= 30e3"])
    assert set(seeds.picks.pick) == {"knee", "best-accuracy", "cheapest", "avg_macs <= 30e3"}
    assert seeds.summary()["hypervolume"]["n"] == 2 and (tmp_path / "run-seeds" / "summary.json").exists()


def test_what_the_package_hands_out_is_the_api():
    for name in aebnas.__all__:
        assert getattr(aebnas, name) is (
            UserError if name == "UserError" else getattr(api, {"open": "open_run"}.get(name, name))
        )
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = aebnas.nothing


def test_the_package_imports_nothing_slow():
    code = "import sys, aebnas.cli.main; print(sorted({'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
