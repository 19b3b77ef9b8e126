"""What `pyproject.toml` says is needed against what the package imports."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

EXTRAS = ("onnx", "tensorboard")
"""Extras for users, whose packages may be imported where the user asks for what needs them."""


def distributions(requirements: list[str]) -> set[str]:
    """Normalised names of requirements such as `ray[train]>=2.51`."""
    return {re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def imported(folder: Path) -> set[str]:
    """Distributions that the modules in a folder import at any place."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    of = metadata.packages_distributions()
    others = names - sys.stdlib_module_names - {"aebnas"}
    return {found.lower().replace("_", "-") for name in others for found in of.get(name, [name])}


def test_every_dependency_is_imported(root, project):
    assert distributions(project["dependencies"]) - imported(root / "aebnas") == set()


def test_everything_imported_is_a_dependency(root, project):
    known = distributions(project["dependencies"])
    for extra in EXTRAS:
        known |= distributions(project["optional-dependencies"][extra])
    unknown = imported(root / "aebnas") - known
    # other distributions may share a top-level package with one that is named
    assert {name for name in unknown if not name.startswith("ruamel")} == set()
