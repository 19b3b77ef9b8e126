"""What every mistake must lead to: one line on standard error, exit code 2, no traceback, nothing changed on disk."""

import re
from pathlib import Path

import pytest
from tiny_run import own_copy, searched

from aebnas.cli.main import main


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content; folders with None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


@pytest.fixture
def refused(capsys):
    """The function that runs a command which must be refused, and returns its error message after `error: `.

    `kept` is the folder in which nothing may change.
    """

    def run(kept: Path, *arguments: object) -> str:
        before = snapshot(kept)
        capsys.readouterr()  # discards the output of the setup
        with pytest.raises(SystemExit) as leaving:
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert leaving.value.code == 2, err
        assert out == "" and err.endswith("\n"), out + err
        *bars, line = err.splitlines()
        assert line.startswith("error: ") and line.isprintable(), err
        assert all(re.match(r"\w+ images: \d+/\d+", bar) for bar in bars), err
        assert snapshot(kept) == before
        return line.removeprefix("error: ")

    return run


@pytest.fixture
def run(tmp_path_factory, tmp_path, monkeypatch) -> Path:
    """A finished run to be damaged. Commands run in an empty folder, where nothing may appear."""
    copy = own_copy(searched(tmp_path_factory), tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return copy
