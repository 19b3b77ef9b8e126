"""Runs that were never disturbed, made once by the command line, and copies of how far they were at some moment."""

import shutil
from pathlib import Path

import pytest
from faulty import QUICK, aebnas
from tiny_run import write_spec

from aebnas.run.session import RunSession


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """The folder of a search that nothing disturbed, beside its spec's; none may change it."""
    return undisturbed(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def whole_own(tmp_path_factory) -> Path:
    """The same for candidates that are trained separately."""
    folder = tmp_path_factory.mktemp("whole_own")
    return undisturbed(folder, evaluate={"weights": "finetune(1)", "calibration_images": 128})


def undisturbed(folder: Path, **changes) -> Path:
    ended = aebnas("search", write_spec(folder / "spec", **QUICK | changes), "--out", folder / "run")
    assert ended.code == 0, ended.printed
    return folder / "run"


@pytest.fixture(scope="session")
def pick(whole) -> str:
    """A point with an early exit."""
    return next(p.id for _, p in RunSession.open(whole).front() if len(p.exit_shares) > 1 and min(p.exit_shares) > 0)


@pytest.fixture(scope="session")
def whole_retrained(whole, pick, tmp_path_factory) -> Path:
    """A run with a retrained pick, two epochs from scratch."""
    run = copied(whole, tmp_path_factory.mktemp("whole_retrained"))
    ended = aebnas("retrain", run, "--pick", pick, "--weights", "scratch", "--epochs", 2)
    assert ended.code == 0, ended.printed
    return run


@pytest.fixture
def fresh(whole, tmp_path) -> Path:
    """Where a run of the same spec shall be, which isn't there yet; its spec is."""
    shutil.copytree(whole.parent / "spec", tmp_path / "spec")
    return tmp_path / "run"


@pytest.fixture
def finished(whole, tmp_path) -> Path:
    """A copy of the undisturbed run."""
    return copied(whole, tmp_path)


@pytest.fixture
def trained(finished) -> Path:
    """A copy in which the supernet is trained and the search has not begun."""
    for path in finished.iterdir():
        if path.is_file() and path.name not in ("config.json", "train_epoch_metrics.csv"):
            path.unlink()
    return finished


def copied(run: Path, folder: Path) -> Path:
    shutil.copytree(run.parent, folder, dirs_exist_ok=True)
    return folder / run.name
