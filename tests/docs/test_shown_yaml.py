"""YAML shown in the documentation is read by the program: whole specs plan, parts fit into a whole one."""

from pathlib import Path
from typing import Any

import pytest
from shown_code import ROOT, Block, blocks

from aebnas.core.spec_base import parse_spec
from aebnas.core.yaml_reader import read_yaml
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.search.plan import make_plan
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec

SHOWN = blocks("yaml")
EXPERIMENT, SPACE = set(ExperimentSpec.model_fields), set(SpaceSpec.model_fields)
NEEDED = {"space": {"input", "classes", "stem"}, "experiment": {"space", "data", "retrain"}}


def value_of(block: Block, folder: Path) -> dict[str, Any]:
    file = folder / "shown.yaml"
    file.write_text(block.code, encoding="utf-8")
    value = read_yaml(file)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block.at)
def test_it_is_valid(block, tmp_path):
    value = value_of(block, tmp_path)
    if set(value) <= SPACE:
        whole = value if NEEDED["space"] <= set(value) else with_space(value)
        space = SearchSpace(parse_spec(SpaceSpec, whole, block.at))
        assert space.decode(space.encode(space.decode([0] * len(space.gene_sizes)))) is not None
        return
    assert set(value) <= EXPERIMENT, f"{block.at}: neither of a space nor of an experiment"
    if NEEDED["experiment"] <= set(value):
        assert plan(block, tmp_path).experiment == parse_spec(ExperimentSpec, value, block.at)
    else:
        parse_spec(ExperimentSpec, read_yaml(ROOT / "experiments" / "quickstart.yaml") | value, block.at)


def with_space(part: dict[str, Any]) -> dict[str, Any]:
    """A whole space with a part of one in it."""
    whole = read_yaml(ROOT / "search_spaces" / "digits_tiny.yaml")
    if "dag" in part:
        whole = {key: value for key, value in whole.items() if key not in ("stages", "exits")}
    return whole | part


def plan(block: Block, folder: Path):
    """The plan of a whole experiment, in a folder like the repository's and with images of ten classes."""
    (folder / "search_spaces").symlink_to(ROOT / "search_spaces")
    for part in ("train", "test"):
        for label in range(10):
            (folder / "experiments" / "images" / part / str(label)).mkdir(parents=True)
    file = folder / "experiments" / "my.yaml"
    file.write_text(block.code, encoding="utf-8")
    return make_plan(file)


def test_both_kinds_are_shown_in_whole(tmp_path):
    whole = [set(value_of(block, tmp_path)) for block in SHOWN]
    for needed in NEEDED.values():
        assert any(needed <= keys for keys in whole)
