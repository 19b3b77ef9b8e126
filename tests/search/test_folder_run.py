"""A whole run on a folder of images, in memory and streamed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from image_files import write_digits
from tiny_run import EXPERIMENT, front_of, write_spec

from aebnas.core.errors import UserError
from aebnas.data.data_spec import DataSpec
from aebnas.data.image_files.listing import list_images
from aebnas.export.model import Model
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.selected.evaluate import evaluate, export


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 digits to train and 60 to test, in a folder a class."""
    base = tmp_path_factory.mktemp("folder")
    write_digits(base, train=300, test=60)
    return base


def search(folder: Path, **data: Any) -> Path:
    """Run the tiny experiment on the folder; returns the run's folder."""
    where = {"name": "folder", "path": str(folder / "digits"), "resolution": 8, "channels": 1}
    spec = {"splits": EXPERIMENT["data"]["splits"], "augment": {"crop": 1, "cutout": 2, "mixup": 0.2}}
    run = folder / f"run-{data['memory']}"
    run_search(write_spec(folder / f"spec-{data['memory']}", data=where | spec | data), run)
    return run


def test_what_the_data_lack_is_reported_once_and_recorded(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "digits", tmp_path / "digits")
    nines = tmp_path / "digits/train/digit 9"
    (nines / ".trash").mkdir()
    for file in sorted(nines.glob("*.png"))[1:]:
        file.rename(nines / ".trash" / file.name)
    run = search(tmp_path, memory="always")
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: not all of the data's files are read as images (left out: 1 hidden)",
        "note: search has no image of 1 of 10 classes, too small to be cut (digit 9)",
        "note: calibrate has no image of 1 of 10 classes, too small to be cut (digit 9)",
    ]
    protocol = json.loads((run / "protocol.json").read_text())
    assert protocol["left_out"] == {"hidden": 1}
    assert protocol["classes_without_images"] == {"search": ["digit 9"], "calibrate": ["digit 9"]}


def test_streamed_and_in_memory_searches_find_the_same(folder: Path) -> None:
    streamed, held = search(folder, memory="never"), search(folder, memory="auto")
    assert front_of(streamed) == front_of(held)
    assert RunSession.open(streamed).class_names() == [f"digit {number}" for number in range(10)]
    assessed = evaluate(streamed, "knee")
    point_id, samples = assessed.id, assessed.samples
    assert samples == 60
    assert export(streamed, "knee", folder / "out") == point_id
    [prediction] = Model.load(folder / "out").predict(next((folder / "digits" / "test").rglob("*.png")))
    assert prediction.class_name.startswith("digit ")


def test_images_that_do_not_fit_the_space(folder: Path) -> None:
    with pytest.raises(UserError, match=r"input: must fit the images of folder"):
        search(folder, memory="always", channels=3)


def test_a_run_on_a_csv_file_without_a_test_part(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a damaged image to an export: the same images in each session, and what is left out is said."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(folder / "digits/train", tmp_path / "set")
    files = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "set").rglob("*.png"))
    (tmp_path / "labels.csv").write_text(
        "\n".join(["path,label", *(f"{file},{file.split('/')[1]}" for file in files)]), encoding="utf-8"
    )
    splits = EXPERIMENT["data"]["splits"] | {"test": 60}
    where = {"name": "csv", "path": str(tmp_path / "labels.csv"), "resolution": 8, "channels": 1}
    data = where | {"splits": splits, "unreadable": "leave_out"}
    for part in ("train", "test"):
        listing = list_images(DataSpec.model_validate(data), tmp_path, "train" if part == "train" else "test")
        Path(listing.files[3]).write_bytes(b"")
    run = tmp_path / "run"
    run_search(write_spec(tmp_path / "spec", data=data), run)
    said = capsys.readouterr().err
    assert "note: 60 of 300 images are the test set (data.splits.test)\n" in said
    assert "1 test file(s) that can't be read as images (the first is set/digit " in said
    protocol = json.loads((run / "protocol.json").read_text())
    assert protocol["data_notes"] == ["60 of 300 images are the test set (data.splits.test)"]
    assert sum(protocol["images"].values()) == 239 and [*protocol["left_out"].values()] == [1, 1]
    assert evaluate(run, "knee").samples == 59
    assert "verifying" not in capsys.readouterr().err
    export(run, "knee", tmp_path / "out")
    assert Model.load(tmp_path / "out").predict(tmp_path / files[0])[0].class_name.startswith("digit ")
