import json
import shutil
import statistics

import pandas as pd
import pytest
from tiny_run import write_spec
from typer.testing import CliRunner

import aebnas
from aebnas.cli.main import app
from aebnas.core.errors import UserError
from aebnas.report.run_list import list_runs
from aebnas.report.seed_summary import check_seed_picks, mean_std
from aebnas.run.hypervolume import normalised_hypervolume
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.selected.evaluate import evaluate

BUDGET = "avg_macs<=30e3"
NONE = "avg_macs <= 1"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a search over three seeds whose picks were measured on the test set, and what it printed."""
    base = tmp_path_factory.mktemp("seeds")
    spec = write_spec(base / "spec")
    picks = ["--pick", BUDGET, "--pick", NONE]
    arguments = ["search", str(spec), "--out", str(base / "run"), "--seeds", "11,12,13", "--test", *picks]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return base, result.stdout


def summary(base):
    return json.loads((base / "run-seeds" / "summary.json").read_text())


def runs(base):
    return [RunSession.open(base / f"run-seed{seed}") for seed in (11, 12, 13)]


def test_one_run_and_one_supernet_for_each_seed_on_the_same_splits(finished):
    base, _ = finished
    assert [run.experiment.seed for run in runs(base)] == [11, 12, 13]
    weights = {(run.run.supernet_weights).read_bytes() for run in runs(base)}
    assert len(weights) == 3
    pixels = [run.images.splits.search.labels.tolist() for run in runs(base)]
    assert pixels[0] == pixels[1] == pixels[2]
    assert {listed.folder.name for listed in list_runs(base)} == {f"run-seed{seed}" for seed in (11, 12, 13)}


def test_a_seeds_run_is_the_single_run_of_that_seed(finished, tmp_path):
    base, _ = finished
    shutil.copytree(base / "run-seed12" / "checkpoints", tmp_path / "alone" / "checkpoints")
    run_search(write_spec(tmp_path / "spec", seed=12), tmp_path / "alone")
    assert (tmp_path / "alone" / "pareto.csv").read_bytes() == (base / "run-seed12" / "pareto.csv").read_bytes()


def test_means_and_deviations_are_those_of_the_runs(finished):
    base, printed = finished
    volumes = [normalised_hypervolume(run.facts, run.front()) for run in runs(base)]
    reported = summary(base)
    assert reported["hypervolume"]["values"] == pytest.approx(volumes)
    assert reported["hypervolume"]["mean"] == pytest.approx(statistics.mean(volumes))
    assert reported["hypervolume"]["std"] == pytest.approx(statistics.stdev(volumes))
    assert f"hypervolume {statistics.mean(volumes):.4f} +- {statistics.stdev(volumes):.4f}" in printed
    for rule in ("knee", "best-accuracy", "cheapest", BUDGET):
        picked = [run.pick(rule)[1] for run in runs(base)]
        on_search = [point.metrics["accuracy"] for point in picked]
        on_test = [evaluate(run.run.folder, point.id) for run, point in zip(runs(base), picked, strict=True)]
        for name, values in {
            "accuracy": on_search,
            "avg_macs": [point.metrics["avg_macs"] for point in picked],
            "test_accuracy": [assessed.point.metrics["accuracy"] for assessed in on_test],
            "optimism": [assessed.optimism["difference"] for assessed in on_test],
        }.items():
            figures = reported["picks"][rule][name]
            assert (figures["n"], figures["values"]) == (3, pytest.approx(values))
            assert figures["mean"] == pytest.approx(statistics.mean(values))
            assert figures["std"] == pytest.approx(statistics.stdev(values))


def test_the_table_holds_every_pick_of_every_seed(finished):
    base, printed = finished
    table = pd.read_csv(base / "run-seeds" / "seeds.csv")
    assert len(table) == 12 and set(table.seed) == {11, 12, 13}
    assert NONE not in set(table.pick) and NONE not in summary(base)["picks"]
    assert table.test_accuracy.notna().all() and (table.test_samples == 360).all()
    assert (table.accuracy_low < table.accuracy).all() and (table.accuracy < table.accuracy_high).all()
    assert "best-accuracy" in printed and "search minus test" in printed
    assert (base / "run-seeds" / "seeds.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_resumes_and_repeats_no_test(finished, monkeypatch, scored):
    base, _ = finished
    before = summary(base)
    monkeypatch.setattr("aebnas.api.evaluate", lambda *args, **options: pytest.fail("measured again"))
    aebnas.search_seeds(base / "spec" / "tiny.yaml", [11, 12, 13], base / "run", picks=[BUDGET], test=True)
    assert scored == [] and summary(base) == before


def test_a_single_value_has_no_deviation():
    assert mean_std([0.5]) == {"mean": 0.5, "std": None, "n": 1, "values": [0.5]}


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--seeds", "11"], "seeds must be two or more different whole numbers, but got 11"),
        (["--seeds", "11,11"], "different whole numbers, but got 11, 11"),
        (["--seeds", "11,x"], "--seeds must be whole numbers such as 11,22,33, but got '11,x'"),
        (["--seeds", "11,-2"], r"seed: must be greater than or equal to 0, but got -2"),
        (["--seeds", "11,22", "--pick", "0a1b2c"], "pick over several seeds must be knee, .*, but got '0a1b2c'"),
        (["--seeds", "11,22", "--pick", "avg_mac<=1"], "avg_mac"),
        (["--pick", "knee"], "--pick and --test must be combined with --seeds"),
        (["--test"], "--pick and --test must be combined with --seeds"),
    ],
)
def test_errors_are_reported_before_any_training(tmp_path, arguments, expected):
    spec = write_spec(tmp_path / "spec")
    with pytest.raises(UserError, match=expected):
        app(["search", str(spec), "--out", str(tmp_path / "run"), *arguments], standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["spec"]


def test_named_picks_and_rules_are_known():
    known = ["knee", "best-accuracy", "cheapest", "avg_macs<=5e6", "accuracy >= 0.5"]
    assert check_seed_picks(known) is None
    with pytest.raises(UserError, match="but got 'kneee'"):
        check_seed_picks([*known, "kneee"])
