import getpass
import json
import platform
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from tiny_run import own_copy, searched

from aebnas.cost.bounds import space_bounds
from aebnas.report.results import greatest, normalised_hypervolume, write_report
from aebnas.runtime.decide import ExitPolicy
from aebnas.trial import OperatingPoint
from aebnas.workspace import Workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory)


@pytest.fixture(scope="module")
def workspace(run):
    return Workspace.open(run)


class Loads(HTMLParser):
    """Collects what a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "poster") and value]


def test_the_picture_is_a_png_of_some_size(run):
    content = (run / "pareto.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 800 and height >= 500


def test_the_report_needs_no_network(run):
    page = Loads()
    page.feed((run / "report.html").read_text(encoding="utf-8"))
    assert [target for target in page.found if not target.startswith(("data:", "#"))] == []


def test_the_report_shows_every_point_of_the_front_and_every_trial(run, workspace):
    text = (run / "report.html").read_text(encoding="utf-8")
    assert list(pd.read_csv(run / "pareto.csv").id)
    for trial in workspace.run.trials():
        for point in trial.points:
            assert point.id in text
    table = text[text.index("<h2>Front</h2>") :]
    for point_id in pd.read_csv(run / "pareto.csv").id:
        assert f"<td>{point_id}</td>" in table
    assert "N = 287" in text and "Supernet training" in text and "split_seed" in text


def test_the_report_is_written_again_from_what_lies_on_disk(run, tmp_path):
    copy = own_copy(run, tmp_path)
    for name in ("pareto.csv", "pareto.json", "pareto.png", "report.html", "train_epoch_metrics.csv"):
        (copy / name).unlink()
    write_report(Workspace.open(copy))
    assert (copy / "pareto.csv").read_bytes() == (run / "pareto.csv").read_bytes()
    assert (copy / "report.html").exists() and (copy / "pareto.png").exists()


def test_names_are_escaped(run, tmp_path):
    odd = own_copy(run, tmp_path).rename(tmp_path / "copy" / "<b>&co")
    write_report(Workspace.open(odd))
    assert "<h1>&lt;b&gt;&amp;co</h1>" in (odd / "report.html").read_text(encoding="utf-8")


def test_no_trace_of_the_machine(run):
    for path in run.glob("*.*"):
        content = path.read_bytes()
        assert not [trace for trace in (Path.home(), run.parents[1]) if str(trace).encode() in content], path
    for name in ("env_info.json", "pip_freeze.txt", "protocol.json"):
        for trace in (platform.node(), getpass.getuser()):
            assert not re.search(rf"\b{re.escape(trace)}\b", (run / name).read_text(encoding="utf-8")), name


def test_the_environment_names_what_matters(run):
    environment = json.loads((run / "env_info.json").read_text())
    assert environment["python"] == platform.python_version()
    assert environment["libraries"]["torch"] and environment["cores"] >= 1
    frozen = (run / "pip_freeze.txt").read_text().splitlines()
    assert frozen == sorted(frozen, key=str.lower)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==\S+", line) for line in frozen)


def test_the_protocol_counts_the_pictures(run):
    protocol = json.loads((run / "protocol.json").read_text())
    assert protocol["pictures"] == {"train": 863, "arch": 0, "search": 287, "calibrate": 287, "certify": 0}
    assert protocol["splits_read_by_search"] == ["train", "calibrate", "search"]


def test_hypervolume_of_two_points_by_hand(workspace):
    """Error 0.2 at half of the greatest cost, error 0.6 at a tenth of it; reference (1, 1)."""
    most = greatest(workspace, "avg_macs")
    trial = workspace.run.trials()[0]

    def point(accuracy, cost):
        metrics = {"accuracy": accuracy, "avg_macs": cost}
        return trial, OperatingPoint(trial.architecture.id, ExitPolicy("margin", ()), metrics, (1.0,), (accuracy,))

    points = [point(0.8, 0.5 * most), point(0.4, 0.1 * most)]
    assert normalised_hypervolume(workspace, points) == pytest.approx(0.8 * 0.5 + 0.4 * (0.5 - 0.1))
    assert normalised_hypervolume(workspace, points[:1]) == pytest.approx(0.4)
    assert normalised_hypervolume(workspace, []) == 0.0


def test_the_greatest_cost_is_that_of_the_space(workspace):
    for metric, name in (("avg_macs", "macs"), ("avg_macs_taken_only", "macs"), ("params", "params")):
        assert greatest(workspace, metric) == space_bounds(workspace.space.spec, lambda c, n=name: getattr(c, n)).upper


def test_the_rows_of_the_front_read_back(run, workspace):
    rows = {row.id: row for row in pd.read_csv(run / "pareto.csv", dtype={"thresholds": str}).itertuples()}
    for trial, point in workspace.front():
        row = rows[point.id]
        assert [float(share) for share in row.exit_shares.split()] == pytest.approx(point.exit_shares, abs=1e-4)
        assert row.criterion == point.policy.criterion and row.architecture == str(trial.architecture)
        assert row.accuracy == point.metrics["accuracy"]
        written = [] if pd.isna(row.thresholds) else row.thresholds.split()
        assert len(written) == len(point.policy.thresholds)
        for text, threshold in zip(written, point.policy.thresholds, strict=True):
            assert text == "never" if threshold is None else float(text) == pytest.approx(threshold, rel=1e-5)
