import json
import shutil
import struct

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from tiny_run import searched
from typer.testing import CliRunner

from aebnas.cli.main import app, main
from aebnas.core.errors import UserError
from aebnas.report.compare import compare_runs
from aebnas.report.front_plot import front_figure
from aebnas.run.hypervolume import normalised_hypervolume
from aebnas.run.run_facts import RunFacts


@pytest.fixture
def copy(tmp_path_factory, tmp_path):
    """The function that copies a finished run under a name, with only its first trials and with a changed config."""
    run = searched(tmp_path_factory)

    def make(name, trials=8, change=lambda config: None):
        folder = tmp_path / name
        shutil.copytree(run, folder)
        shutil.copytree(run.parent / "spec", tmp_path / "spec", dirs_exist_ok=True)
        lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
        (folder / "trials.jsonl").write_text("".join(lines[:trials]))
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def test_of_half_a_search_no_point_dominates_the_whole(copy):
    whole, half = copy("whole"), copy("half", 4)
    comparison = compare_runs([whole, half])
    fronts = {folder: RunFacts.read(folder).front() for folder in (whole, half)}
    figures = {
        folder: np.array([[-p.metrics["accuracy"], p.metrics["avg_macs"]] for _, p in points])
        for folder, points in fronts.items()
    }
    beaten = [
        any((a <= b).all() and (a < b).any() for a in figures[whole]) for b in figures[half]
    ]  # point by point, as a definition reads
    assert comparison.dominated.tolist() == [[0, 0], [np.mean(beaten), 0]]
    assert comparison.dominated_by_any == (0, np.mean(beaten))
    assert comparison.hypervolumes[0] >= comparison.hypervolumes[1]


def test_the_common_hypervolume_is_each_runs_own_where_the_space_is_one(copy):
    folders = [copy("whole"), copy("half", 4)]
    own = [normalised_hypervolume(run, run.front()) for run in map(RunFacts.read, folders)]
    assert compare_runs(folders).hypervolumes == pytest.approx(own)


def test_the_reference_point_is_the_greatest_of_all_spaces(copy):
    def wider(config):
        config["space"]["stem"]["width"] = [9]

    narrow, wide = copy("narrow"), copy("wide", change=wider)
    alone = compare_runs([narrow, copy("same")])
    both = compare_runs([narrow, wide])
    assert both.reference["avg_macs"] > alone.reference["avg_macs"]
    assert both.reference == compare_runs([wide, narrow]).reference
    assert both.reference["accuracy"] == 0
    assert both.hypervolumes[0] > alone.hypervolumes[0]


def test_table_and_image(copy, tmp_path):
    runs = [copy("a"), copy("b", 5), copy("c", 3)]
    arguments = ["compare", *map(str, runs), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "reference point (accuracy 0, avg_macs " in result.stdout
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert list(table.run) == ["a", "b", "c"]
    assert all(f"{value:.4f}" in result.stdout for value in table.hypervolume)
    for name, run in zip("abc", map(RunFacts.read, runs), strict=True):
        row = table[table.run == name].iloc[0]
        points = [point.metrics for _, point in run.front()]
        assert row.best_accuracy == max(metrics["accuracy"] for metrics in points)
        assert row.best_avg_macs == min(metrics["avg_macs"] for metrics in points)
        assert row.best_accuracy_low < row.best_accuracy < row.best_accuracy_high
        assert row[f"dominated_by_{name}"] == 0
        assert row.dominated_by_any >= max(row[f"dominated_by_{other}"] for other in "abc")
    content = (tmp_path / "out" / "compare.png").read_bytes()
    assert content.startswith(b"\x89PNG") and struct.unpack(">I", content[16:20])[0] >= 800


def test_names_are_shown_as_they_are(copy, tmp_path, capsys):
    """Neither as markup, nor emoji, nor a formula; and legends leave out labels that begin with an underscore."""
    names = ["r [bold]x", "r :smile: y", "_$\\frac x$"]
    runs = [copy(name) for name in names]
    main(["compare", *map(str, runs), "--out", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in names) and (tmp_path / "out/compare.png").exists()
    comparison = compare_runs(runs)
    figure = front_figure(comparison.fronts, comparison.objectives, names[2])
    [axes] = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [f"{name}, {len(points)} points" for name, points in comparison.fronts.items()]
    figure.draw_without_rendering()
    plt.close(figure)


def test_the_folder_is_named_after_the_runs(copy):
    runs = [copy("a"), copy("b")]
    assert compare_runs(runs).default_name == "compare-a-b"
    many = [copy("a_long_name_for_a_run_" * 3 + str(number)) for number in range(3)]
    assert len(compare_runs(many).default_name) <= 80


def other_objectives(config):
    config["experiment"]["objectives"] = ["accuracy", "params"]


def other_data(config):
    config["experiment"]["data"] |= {"name": "npz", "path": "somewhere/other.npz"}


@pytest.mark.parametrize(
    "change, expected",
    [
        (other_objectives, "same objectives, but got first: accuracy, avg_macs; second: accuracy, params"),
        (other_data, "same data, but got first: digits, 1 x 8 x 8, 10 classes; second: npz other.npz, 1 x 8 x 8"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(copy, change, expected):
    with pytest.raises(UserError, match=expected):
        compare_runs([copy("first"), copy("second", change=change)])


def test_the_order_of_objectives_does_not_matter(copy):
    def swapped(config):
        config["experiment"]["objectives"].reverse()

    comparison = compare_runs([copy("first"), copy("second", change=swapped)])
    assert comparison.hypervolumes[0] == pytest.approx(comparison.hypervolumes[1])


def test_two_runs_with_a_front_are_needed(copy, tmp_path):
    with pytest.raises(UserError, match="must be given two or more runs, but got 1"):
        compare_runs([copy("one")])
    with pytest.raises(UserError, match=r"must be given different runs, but got .*one 2 times"):
        compare_runs([tmp_path / "one", tmp_path / "one"])
    with pytest.raises(UserError, match="empty: must have a front to be compared"):
        compare_runs([tmp_path / "one", copy("empty", 0)])


def test_different_splits_are_reported(copy):
    first, second = copy("first"), copy("second")
    protocol = json.loads((second / "protocol.json").read_text())
    protocol["images"]["search"] = 100
    (second / "protocol.json").write_text(json.dumps(protocol))
    (warning,) = compare_runs([first, second]).warnings
    assert warning == "the search split has 100 images in second; 287 images in first"
    assert compare_runs([first, copy("third")]).warnings == ()
