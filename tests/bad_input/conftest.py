"""What every mistake must lead to: one line on standard error, exit code 2, no traceback, nothing changed on disk."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from image_files import write_image
from tiny_run import EXPERIMENT, SPACE, own_copy, searched

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


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with a space of two classes, which is also where commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE | {"classes": 2}), encoding="utf-8")
    return tmp_path


@pytest.fixture
def search(refused, project) -> Callable[..., str]:
    """The function that searches on data that must be refused, and returns the error message."""

    def run(**data: Any) -> str:
        (project / "spec.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"data": data}), encoding="utf-8")
        return refused(project, "search", "spec.yaml", "--out", "run")

    return run


@pytest.fixture
def folder_of_images(project) -> Path:
    """A sound folder of images of two classes; the file that damage is done to is `train/cat/07.png`."""
    for name in ("cat", "dog"):
        for number in range(30):
            write_image(project / f"set/train/{name}/{number:02}.png")
        write_image(project / f"set/test/{name}/0.png")
    space = SPACE | {"classes": 2, "input": {"channels": 3, "resolution": 8}}
    (project / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    return project / "set"
