"""The generated reference holds every key of a spec, every command with its options, and every public name."""

import importlib.util
from typing import Any

import pytest
import typer.main
from shown_code import ROOT

import aebnas
from aebnas.cli.main import COMMANDS, app
from aebnas.core.spec_base import Spec
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.space.spec import SpaceSpec


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    file = ROOT / "docs" / "generate_reference.py"
    spec = importlib.util.spec_from_file_location("generate_reference", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def rows(page: str) -> list[list[str]]:
    """Cells of all table rows, without a row's outer bars."""
    lines = [line.replace("\\|", "/") for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name, model", [("experiment", ExperimentSpec), ("space", SpaceSpec)])
def test_every_key_is_described(pages, name, model: type[Spec]):
    schema = model.model_json_schema()
    # a part that only a union's other form holds is a section of its own, too
    sections = pages[name].split("\n## ")[1:]
    parts = [schema, *schema["$defs"].values()]
    assert len(sections) == len(parts)
    for part in parts:
        keys = [f"`{key}`" for key in part["properties"]]
        table = next(found for found in map(rows, sections) if [row[0] for row in found[1:]] == keys)
        for key, values, default, meaning in table[1:]:
            assert values and default and meaning.endswith("."), f"{key}: {meaning}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_described(pages, name):
    group: Any = typer.main.get_command(app)
    (section,) = (part for part in pages["command-line"].split("\n## ") if part.startswith(f"aebnas {name} "))
    described = {row[0]: row[2] for row in rows(section)[1:]}
    for parameter in group.commands[name].params:
        label = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
        (meaning,) = (text for key, text in described.items() if f"`{label}`" in key)
        assert meaning, f"aebnas {name}: {label} has no help"
    assert len(described) == len(group.commands[name].params)


@pytest.mark.parametrize("name", aebnas.__all__)
def test_every_public_name_is_there(pages, name):
    assert f"heading: aebnas.{name}\n" in pages["python"]
    assert getattr(aebnas, name).__doc__
