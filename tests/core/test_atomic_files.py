"""Files are written whole or not at all."""

import errno
import json

import pytest

from aebnas.core.atomic_files import remove_partials, write_atomically, write_json, write_text
from aebnas.core.errors import UserError


def test_writes_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": [1, 0.5, "é"]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"x": [1, 0.5, "é"]}
    write_text(path, "grüezi\n")
    assert path.read_text(encoding="utf-8") == "grüezi\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.json"]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "old.txt"
    write_text(path, "old")

    def torn(partial):
        partial.write_text("ne", encoding="utf-8")
        assert partial.suffix == path.suffix  # for writers that depend on the suffix
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"old\.txt: cannot be written: the disk is full; free some space and give"):
        write_atomically(path, torn)
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.txt"]


def test_a_file_where_a_folder_must_be_is_reported(tmp_path):
    write_text(tmp_path / "file", "")
    with pytest.raises(UserError, match=r"x\.json: cannot be written: a file is where a folder must be"):
        write_json(tmp_path / "file" / "x.json", {})


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    complete = [tmp_path / "a.json", tmp_path / ".hidden", tmp_path / "sub" / "b.json"]
    for path in complete:
        write_text(path, "x")

    class Killed(BaseException):
        pass

    def killed(partial):
        partial.write_text("half")
        partial.rename(partial.with_name(partial.name.replace(".b.", ".c.")))  # the clean-up doesn't find it
        raise Killed

    with pytest.raises(Killed):
        write_atomically(tmp_path / "sub" / "b.json", killed)
    assert len(list((tmp_path / "sub").iterdir())) == 2
    remove_partials(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(complete)


def test_nan_is_refused_and_nothing_written(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
