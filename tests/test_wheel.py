"""An installed package has all that it needs: its modules, its data, and the bundled spaces by name."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PLAN = """
from pathlib import Path
import aebnas
from aebnas.search.plan import make_plan
spec = {"space": "digits_tiny", "data": {"name": "digits"}, "supernet": {"epochs": 1}, "retrain": {"epochs": 1}}
print(aebnas.__file__, make_plan(Path("spec"), value=spec).space.spec.classes)
"""


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel that is built from this tree."""
    setuptools = pytest.importorskip("setuptools", minversion="77")
    assert setuptools
    base = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, base)
    for name in ("aebnas", "search_spaces"):
        shutil.copytree(root / name, base / name)  # with __pycache__, as they lie in a tree that is used
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        "out",
        ".",
    ]
    built = subprocess.run(command, cwd=base, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = (base / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(base / "installed")
    return base / "installed"


def test_everything_is_in_it(root: Path, installed: Path) -> None:
    found = {file.relative_to(installed).as_posix() for file in installed.rglob("*") if file.is_file()}
    wanted = {file.relative_to(root).as_posix() for file in (root / "aebnas").rglob("*") if file.is_file()}
    wanted |= {f"aebnas/search_spaces/{file.name}" for file in (root / "search_spaces").glob("*.yaml")}
    assert {name for name in found if ".dist-info/" not in name} == {name for name in wanted if ".pyc" not in name}


def test_bundled_spaces_are_found_without_the_repository(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", PLAN]
    printed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed == f"{installed / 'aebnas' / '__init__.py'} 10\n"
