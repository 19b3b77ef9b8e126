"""Validation rows become a CSV file and an event, in this process and in a worker."""

import pickle

import pandas as pd
import pytest
from tiny_run import searched

from aebnas.report.run_report import RunReport
from aebnas.run.events import RunEvents, TrainingRows
from aebnas.run.run_facts import RunFacts

ROW = {"phase": "supernet", "lr": 0.1, "loss": 2.0, "train_seconds": 1.0, "images_per_second": 50.0}


class Recorded(RunEvents):
    """Records its events."""

    def __init__(self, facts):
        super().__init__(facts)
        self.seen = []

    def training_rows(self, name, rows):
        self.seen.append((name, len(rows)))


@pytest.fixture
def facts(tmp_path_factory):
    return RunFacts.read(searched(tmp_path_factory))


def test_rows_are_written_before_the_event_is_raised(facts, tmp_path):
    events = Recorded(facts)
    on_rows = TrainingRows(tmp_path / "rows.csv", events, "supernet")
    on_rows([ROW | {"epoch": 1, "subnet": "largest"}])
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 1
    assert events.seen == [("supernet", 1)]


@pytest.mark.parametrize("listener", [RunEvents, RunReport])
def test_rows_of_a_worker_reach_file_and_listener(facts, tmp_path, monkeypatch, listener):
    """A worker elsewhere has another working directory, and is sent the listener as it is."""
    from dataclasses import replace

    with listener(replace(facts, folder=tmp_path)) as events:
        events.search_started()
        on_rows = TrainingRows(tmp_path / "rows.csv", events, "supernet")
        on_rows([ROW | {"epoch": 1, "subnet": "largest"}])
        copy = pickle.loads(pickle.dumps(on_rows))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    copy([ROW | {"epoch": epoch, "subnet": "largest"} for epoch in (1, 2)])
    copy.events.close()
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 2
    assert not list((tmp_path / "elsewhere").iterdir())
