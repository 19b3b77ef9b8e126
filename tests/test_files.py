"""Files are written whole or not at all."""

import json

import pytest

from aebnas.files import write_atomically, write_json, write_text


def test_writes_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": [1, 0.5, "é"]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"x": [1, 0.5, "é"]}
    write_text(path, "grüezi\n")
    assert path.read_text(encoding="utf-8") == "grüezi\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.json"]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def torn(partial):
        partial.write_text("ne", encoding="utf-8")
        assert partial.suffix == path.suffix  # writers that look at the suffix see the right one
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, torn)
    assert path.read_text(encoding="utf-8") == "old"


def test_nan_is_refused_and_nothing_written(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
