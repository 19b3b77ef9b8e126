import json
import shutil

import pytest
from tiny_run import own_copy, searched

from aebnas.report.run_state import duration, state_lines
from aebnas.report.trial_digest import counts_and_front
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts


@pytest.fixture
def copy(tmp_path_factory, tmp_path):
    """A run of one's own that has finished."""
    return own_copy(searched(tmp_path_factory), tmp_path)


def lines(folder):
    facts = RunFacts.read(folder)
    return state_lines(facts, *counts_and_front(facts, facts.run.trials()))


def unfinish(folder):
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"finished": False}))


def test_a_finished_run(copy):
    (line,) = lines(copy)
    volume = json.loads((copy / "summary.json").read_text())["hypervolume"]
    assert line == f"{copy}: finished, 8 of 8 trials, hypervolume {volume:.4f}"


def test_a_search_that_runs_tells_the_time_left(copy):
    unfinish(copy)
    kept = (copy / "trials.jsonl").read_text().splitlines(keepends=True)[:6]
    (copy / "trials.jsonl").write_text("".join(json.dumps(json.loads(line) | {"seconds": 30}) + "\n" for line in kept))
    with Run.open(copy).locked():
        (line,) = lines(copy)
    assert "running in search, 6 of 8 trials, hypervolume 0." in line and line.endswith("ETA 60 s")
    assert "stopped in search" in lines(copy)[0]


def test_a_supernet_in_training_tells_epoch_loss_and_time_left(copy):
    for name in ("summary.json", "trials.jsonl", "pareto.csv", "pareto.png"):
        (copy / name).unlink()
    shutil.rmtree(copy / "checkpoints")
    header = "phase,epoch,progress,loss,train_seconds,subnet,accuracy_at_0.9\n"
    rows = "supernet,1,0.5,1.25,45,largest,0.5\nsupernet,1,0.5,1.25,45,smallest,0.25\n"
    (copy / "train_epoch_metrics.csv").write_text(header + rows)
    with Run.open(copy).locked():
        state, training = lines(copy)
    assert state == f"{copy}: running in supernet"
    assert training == (
        "supernet: epoch 1 (50 % of 2 epochs), loss 1.25, ETA 45 s from there; accuracy largest 50.0 %, smallest 25.0 %"
    )
    for nothing in (header, "\n"):
        (copy / "train_epoch_metrics.csv").write_text(nothing)
        assert lines(copy)[1] == "supernet: no validation yet (2 epochs)"
    (copy / "train_epoch_metrics.csv").unlink()
    assert lines(copy)[1] == "supernet: no validation yet (2 epochs)"


def test_listing_holds_no_lock(copy):
    run = Run.open(copy)
    with run.locked():
        lines(copy)
        assert "another process" not in lines(copy)[0]
    with run.locked():
        pass


def test_durations_for_people():
    assert [duration(s) for s in (0.2, 42, 720, 3600 * 3 + 300)] == ["0 s", "42 s", "12 min", "3 h 05 min"]
