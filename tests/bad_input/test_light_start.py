"""Help and errors in specs are printed before any slow import."""

import json
import subprocess
import sys

import pytest
import yaml
from tiny_run import EXPERIMENT, SPACE

HEAVY = ("torch", "torchvision", "ray", "pymoo", "pandas", "plotly", "matplotlib", "sklearn", "moocore", "optuna")
RUN = """
import json, sys
from aebnas.cli.main import main
code = 0
try:
    main()
except SystemExit as leaving:
    code = leaving.code
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""
STAGE = {"width": 4, "depth": 1, "op": "conv", "kernel": 1, "stride": 4}
CASES = {
    "a bad key": ({"stategy": {}}, SPACE, "tiny.yaml: stategy: unknown key"),
    "an unknown objective": ({"objectives": ["macs", "fun"]}, SPACE, "tiny.yaml: objectives.1: metric must be one of"),
    "a budget below the minimum": (
        {"constraints": ["params <= 9"]},
        SPACE,
        "tiny.yaml: constraints.0: no architect",
    ),
    "an exit that isn't there": ({}, SPACE | {"exits": {"at": "stage9"}}, "space.yaml: exits.at: must be sites of "),
    "exit weights": ({"supernet": {"epochs": 1, "exit_weights": {"last": 1}}}, SPACE, "tiny.yaml: supernet.exit_weigh"),
    "class names": ({"data": {"name": "digits", "class_names": ["a"]}}, SPACE, "tiny.yaml: data.class_names: must be"),
    "another number of classes": ({}, SPACE | {"classes": 7}, "space.yaml: classes: must be 10, as in the data, but "),
    "a folder that isn't there": (
        {"data": {"name": "folder", "path": "none", "resolution": 8}},
        SPACE,
        "none: must be a folder that holds train and test, or one subfolder of images per class, but got no such fol",
    ),
    "a kernel larger than its map": (
        {},
        SPACE | {"stem": {"width": 4, "kernel": 77}},
        "space.yaml: stem.kernel: must be at most 15, to fit its 8x8 map",
    ),
    "a chain of strides": (
        {},
        SPACE | {"stem": {"width": 4, "kernel": 1}, "stages": [STAGE] * 3, "exits": {"at": []}},
        "space.yaml: stages.1.stride: must be at most 2, or nothing is left of its 2x2 map",
    ),
}


def run(folder, *arguments: str) -> tuple[int, list[str], str]:
    """Exit code, modules that were imported at the end, and standard error of a command in a new process."""
    command = [sys.executable, "-c", RUN, *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    output = json.loads(result.stdout.splitlines()[-1])
    return output["code"], output["modules"], result.stderr


@pytest.mark.parametrize("changes, space, expected", CASES.values(), ids=CASES)
def test_a_mistake_is_reported_without_heavy_imports(tmp_path, changes, space, expected):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT | changes), encoding="utf-8")
    code, modules, err = run(tmp_path, "search", "tiny.yaml")
    assert code == 2 and err.startswith("error: ") and expected in err and err.count("\n") == 1
    assert set(HEAVY).isdisjoint(modules)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["space.yaml", "tiny.yaml"]


def test_help_imports_neither_numpy_nor_pydantic(tmp_path):
    code, modules, _ = run(tmp_path, "--help")
    assert code == 0
    assert {*HEAVY, "numpy", "pydantic", "ruamel.yaml"}.isdisjoint(modules)
