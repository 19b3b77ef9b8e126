import getpass
import json
import platform
import re
import struct
from pathlib import Path

import pandas as pd
import pytest
from tiny_run import own_copy, searched, write_report

from aebnas.core.confidence_intervals import wilson
from aebnas.run.session import RunSession


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory)


@pytest.fixture(scope="module")
def session(run):
    return RunSession.open(run)


def test_the_image_is_a_png_of_some_size(run):
    content = (run / "pareto.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 800 and height >= 500


def test_the_report_is_written_again_from_what_lies_on_disk(run, tmp_path):
    copy = own_copy(run, tmp_path)
    for name in ("pareto.csv", "pareto.json", "pareto.png", "report.html", "train_epoch_metrics.csv"):
        (copy / name).unlink()
    write_report(copy)
    assert (copy / "pareto.csv").read_bytes() == (run / "pareto.csv").read_bytes()
    assert (copy / "report.html").exists() and (copy / "pareto.png").exists()


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


def test_the_protocol_counts_the_images(run):
    protocol = json.loads((run / "protocol.json").read_text())
    assert protocol["images"] == {"train": 863, "arch": 0, "search": 287, "calibrate": 287, "certify": 0}
    assert protocol["splits_read_by_search"] == ["train", "calibrate", "search"]


def test_the_rows_of_the_front_read_back(run, session):
    rows = {row.id: row for row in pd.read_csv(run / "pareto.csv", dtype={"thresholds": str}).itertuples()}
    as_json = {row["id"]: row for row in json.loads((run / "pareto.json").read_text())}
    for trial, point in session.front():
        row = rows[point.id]
        assert [float(share) for share in row.exit_shares.split()] == pytest.approx(point.exit_shares, abs=1e-4)
        assert row.criterion == point.policy.criterion and row.architecture == str(trial.architecture)
        assert row.accuracy == point.metrics["accuracy"]
        assert (row.accuracy_low, row.accuracy_high) == wilson(row.accuracy, 287)
        reported = as_json[point.id]
        assert (reported["accuracy_low"], reported["accuracy_high"]) == wilson(row.accuracy, 287)
        written = [] if pd.isna(row.thresholds) else row.thresholds.split()
        assert len(written) == len(point.policy.thresholds)
        for text, threshold in zip(written, point.policy.thresholds, strict=True):
            assert text == "never" if threshold is None else float(text) == pytest.approx(threshold, rel=1e-5)
