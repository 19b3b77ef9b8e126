import re

import pytest
from tiny_run import searched

import aebnas.report.live
from aebnas.report.live import LiveSearch
from aebnas.report.tensorboard import Scalars
from aebnas.run.session import RunSession
from aebnas.strategies.trial import Trial


@pytest.fixture
def clock(monkeypatch):
    """A clock that is advanced by `clock[0] += seconds`."""
    now = [100.0]
    monkeypatch.setattr(aebnas.report.live.time, "monotonic", lambda: now[0])
    return now


class Noted(Scalars):
    """Keeps what would be written."""

    def __init__(self):
        self.seen = []

    def write(self, step, values):
        self.seen.append((step, dict(values)))


def test_the_line_tells_counts_speed_front_and_hypervolume(tmp_path_factory, clock):
    session = RunSession.open(searched(tmp_path_factory))
    scalars = Noted()
    live = LiveSearch(session.facts, scalars)
    trials = session.run.trials()
    for trial in trials[:4]:
        line = live.add(trial, is_new=False)
    assert "from an earlier session" in line and line.startswith("4 ok, 0 infeasible, 0 failed, ")
    for trial in trials[4:]:
        clock[0] += 0.5
        live.add(trial)
    clock[0] += 0.5
    line = live.add(Trial(8, trials[0].architecture, None, "failed", (), "worker lost", "test", 0.5))
    found = re.fullmatch(r"8 ok, 0 infeasible, 1 failed, 2 candidates/s, front (\d+), hypervolume (0\.\d{4})", line)
    assert found and int(found[1]) == len(session.front())
    summary = session.run.read_json("summary.json")
    assert float(found[2]) == pytest.approx(summary["hypervolume"], abs=1e-4)
    step, last = scalars.seen[-1]
    assert step == 9 and last["search/failed"] == 1 and last["search/front_points"] == len(session.front())
