"""What the README shows can be read by the program, and what it names is there."""

import re
from pathlib import Path

import pytest
import yaml

from aebnas.core.spec_base import parse_spec
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_experiment_shown_is_valid():
    whole, *parts = [yaml.safe_load(block) for block in blocks("yaml") if "objectives:" in block]
    assert parts  # what else a spec may say
    for part in ({}, *parts):
        parse_spec(ExperimentSpec, whole | part, "README.md")


def test_the_space_shown_is_valid():
    shown = [block for block in blocks("yaml") if "stages:" in block]
    assert len(shown) == 1
    SearchSpace(parse_spec(SpaceSpec, yaml.safe_load(shown[0]), "README.md"))


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_what_is_linked_is_there(link):
    assert (ROOT / link).exists()


def test_the_map_names_every_room():
    there = [path for path in (ROOT / "aebnas").iterdir() if path.suffix in ("", ".py")]
    rooms = {path.stem for path in there if not path.name.startswith("_")}
    shown = next(block for block in README.split("```") if "cli/  api" in block)
    assert rooms <= set(re.findall(r"[a-z]+", shown))
