"""What contributors are shown of the package is so: its rooms on their layers, and one version everywhere."""

import re
import tomllib
from itertools import combinations, product

from shown_code import ROOT

import aebnas
from aebnas.core.yaml_reader import read_yaml

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def layers_shown() -> dict[str, int]:
    """The layer of each room in CONTRIBUTING."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.*?) \|", text, re.MULTILINE)
    return {
        room.removesuffix(".py"): int(layer) for layer, rooms in rows for room in re.findall(r"`([\w.]+)/?`", rooms)
    }


def test_every_room_is_shown():
    there = {path.stem for path in (ROOT / "aebnas").iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert set(layers_shown()) == there


def test_the_layers_are_those_of_the_import_contract():
    (contract,) = (one for one in PYPROJECT["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    layers = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    shown = layers_shown()
    assert {room for layer in layers for room in layer} == set(shown)
    for upper, lower in combinations(layers, 2):
        assert all(shown[above] > shown[below] for above, below in product(upper, lower))


def test_the_version_is_one():
    versions = {aebnas.__version__, PYPROJECT["project"]["version"], read_yaml(ROOT / "CITATION.cff")["version"]}
    assert len(versions) == 1
    (version,) = versions
    assert re.search(
        rf"^## (\[?{re.escape(version)}\]?)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
