"""Leaving out files that can't be read as images."""

from pathlib import Path
from typing import Any

import pytest
from image_files import png_that_claims, write_image

from aebnas.core.errors import UserError
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_files.files import Files

REASON = "{} file(s) that can't be read as images (the first is {})"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds `set`: three images of each of two classes to train, two to test, and a cache."""
    for name in ("cat", "dog"):
        for number in range(3):
            write_image(tmp_path / f"set/train/{name}/{number}.png")
        for number in range(2):
            write_image(tmp_path / f"set/test/{name}/{number}.png")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def spec(**changes: Any) -> DataSpec:
    return DataSpec.model_validate(
        {"name": "folder", "path": "set", "resolution": 4, "unreadable": "leave_out"} | changes
    )


@pytest.mark.parametrize("loaders", [0, 2])
def test_damaged_files_are_left_out_of_either_part_and_counted(base: Path, loaders: int) -> None:
    (base / "set/train/cat/1.png").write_bytes(b"")
    (base / "set/train/dog/2.png").write_bytes(png_that_claims(20_000, 20_000))
    (base / "set/test/dog/0.png").write_bytes(b"text")
    train, test = load_train(spec(loaders=loaders), base), load_test(spec(loaders=loaders), base)
    assert train.labels.tolist() == [0, 0, 1, 1] and test.labels.tolist() == [0, 0, 1]
    assert train.left_out == {REASON.format("training", "train/cat/1.png"): 2}
    assert test.left_out == {REASON.format("test", "test/dog/0.png"): 1}
    assert len(train.pixels()) == 4 and len(test.pixels()) == 3


def test_files_are_read_once_for_all_sessions(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "set/train/cat/1.png").write_bytes(b"")
    first = load_train(spec(), base)

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr(Files, "readable", refuse)
        (base / "other").mkdir()
        again = load_train(spec(path="../set"), base / "other")
        assert isinstance(first.source, Files) and isinstance(again.source, Files)
        assert len(again) == len(first) == 5 and again.left_out == first.left_out
    write_image(base / "set/train/cat/1.png")  # mended
    assert len(load_train(spec(), base)) == 6 and not load_train(spec(), base).left_out


@pytest.mark.parametrize("content", [b"", b"no JSON", b"{}", b'["a"]', b"[6]"])
def test_a_damaged_cache_is_written_again(base: Path, content: bytes) -> None:
    (base / "set/train/cat/1.png").write_bytes(b"")
    load_train(spec(), base)
    [kept] = (base / "cache/aebnas/unreadable").iterdir()
    kept.write_bytes(content)
    assert len(load_train(spec(), base)) == 5
    assert kept.read_bytes() != content


def test_the_test_images_of_a_set_without_a_test_part_are_the_same_and_unread(base: Path) -> None:
    """They are cut off by their names, before any file is read, so that the search reads none of them."""
    (base / "set/test").rename(base / "away")
    parts = spec(splits={"test": 2})
    whole = load_test(parts, base).source
    (base / "cache").rename(base / "old-cache")
    assert isinstance(whole, Files)
    for path in whole.paths:
        Path(path).write_bytes(b"")
    assert len(load_train(parts, base)) == 4  # which verified what it read
    with pytest.raises(UserError, match=r"must have an image of 'cat' that can be read, but got none of 1"):
        load_test(parts, base)


def test_a_test_class_may_be_lost_but_not_a_training_class(base: Path) -> None:
    for number in range(2):
        (base / f"set/test/dog/{number}.png").write_bytes(b"")
    assert load_test(spec(), base).labels.tolist() == [0, 0]
    for number in range(3):
        (base / f"set/train/dog/{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"set: must have an image of 'dog' that can be read, but got none of 3"):
        load_train(spec(), base)


def test_an_image_that_may_not_be_opened_is_not_left_out(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be sound: the next session, which may open it, would have other images."""
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"cat/1.png: must be a file that can be opened, but got PermissionError"):
        load_train(spec(), base)


def test_a_cache_that_cannot_be_written_costs_only_time(base: Path) -> None:
    (base / "cache").touch()  # a file where the folder should be
    (base / "set/train/cat/1.png").write_bytes(b"")
    assert len(load_train(spec(), base)) == len(load_train(spec(), base)) == 5
