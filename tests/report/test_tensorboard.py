import pytest
from tiny_run import searched

import aebnas.report.tensorboard
from aebnas.report.tensorboard import Scalars, TrainingScalars

ROW = {"phase": "supernet", "lr": 0.1, "loss": 2.0, "train_seconds": 1.0, "images_per_second": 50.0}


def row(epoch, subnet="largest", **accuracies):
    return ROW | {"epoch": epoch, "subnet": subnet, "accuracy_at_0.9": 0.5, "avg_macs_at_0.9": 1e6} | accuracies


def scalars(folder):
    """Tag -> (step, value) pairs, as TensorBoard reads them."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reading.EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_nothing_is_written_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(aebnas.report.tensorboard.importlib.util, "find_spec", lambda name: None)
    training = TrainingScalars(tmp_path / "board")
    training.write([row(1)])
    training.scalars.close()
    assert not (tmp_path / "board").exists()


def test_validation_rows_become_scalars(tmp_path):
    pytest.importorskip("tensorboard")
    training = TrainingScalars(tmp_path / "board")
    first = [row(1, exit1_accuracy=0.25), row(1, "smallest", exit1_accuracy=float("nan"))]
    for rows in ([], first, [*first, row(2, exit1_accuracy=0.75)]):
        training.write(rows)
    training.scalars.close()
    found = scalars(tmp_path / "board")
    assert found["largest/exit1_accuracy"] == [(1, 0.25), (2, 0.75)]
    assert found["train/loss"][0] == (1, 2.0) and "smallest/exit1_accuracy" not in found


def test_a_later_session_supersedes_an_earlier_one(tmp_path):
    pytest.importorskip("tensorboard")
    for value in (1.0, 3.0):
        board = Scalars(tmp_path)
        board.write(1, {"search/failed": value})
        board.close()
    assert scalars(tmp_path)["search/failed"] == [(1, 3.0)]


def test_a_search_writes_its_progress(tmp_path_factory):
    pytest.importorskip("tensorboard")
    board = searched(tmp_path_factory) / "tensorboard"
    assert [step for step, _ in scalars(board / "search")["search/hypervolume"]] == list(range(1, 9))
    assert [step for step, _ in scalars(board / "supernet")["train/loss"]] == [1, 1, 2, 2]
