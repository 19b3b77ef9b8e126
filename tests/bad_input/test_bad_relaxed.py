"""Mistakes in specs of relaxed searches: one line with file, YAML path, rule and value."""

from copy import deepcopy
from typing import Any

import pytest
import yaml
from tiny_darts import DARTS, SPACE
from tiny_run import EXPERIMENT
from tiny_run import SPACE as STAGED

CASES: list[tuple[dict[str, Any], str]] = [
    ({"relaxed": None}, "relaxed: is required when strategy is adaptive_darts"),
    (
        {"strategy": {"name": "adaptive_darts"}},
        "strategy.lambdas: must be given for adaptive_darts and only for it, but",
    ),
    (
        {"strategy": {"lambdas": [0.1]}},
        "strategy.lambdas: must be given for adaptive_darts and only for it, but got [0.1]",
    ),
    ({"strategy.lambdas": [0.1, 0.1]}, "strategy.lambdas: must be one or more distinct values, but got [0.1, 0.1]"),
    ({"strategy.lambdas": [-1.0]}, "strategy.lambdas.0: must be greater than or equal to 0, but got -1.0"),
    ({"strategy.forms": []}, "strategy.forms: must be one or more distinct values, but got []"),
    ({"strategy.forms": ["soft"]}, "strategy.forms.0: must be 'static' or 'adaptive', but got 'soft'"),
    (
        {"strategy.init": "from x"},
        "strategy.init: must be absent for adaptive_darts (it is for nsga2), but got 'from x'",
    ),
    ({"data.splits": {"arch": 0}}, "data.splits.arch: must be above 0 where strategy is adaptive_darts, but got 0"),
    (
        {"evaluate": {}},
        "evaluate.weights: must be finetune(EPOCHS) or scratch(EPOCHS) where strategy is adaptive_darts",
    ),
    ({"evaluate": {"weights": "scratch(1)"}}, "strategy.forms: must be static where evaluate.weights is scratch"),
    ({"relaxed.controller": 0}, "strategy.forms: must be static where relaxed.controller is 0, but got ['static', 'ad"),
    (
        {"retrain.weights": "supernet"},
        "retrain.weights: must be scratch or kept where strategy is adaptive_darts, but got",
    ),
    ({"target": {"value": 1e5}}, "target: must be absent where strategy is adaptive_darts"),
    ({"relaxed.cost": "latency_ms"}, "relaxed.cost: must be a cost other than latency_ms where no device is named"),
    ({"relaxed.cost": "steps"}, "relaxed.cost: must be 'macs', 'params', 'weight_bytes', 'latency_ms', 'energy_mj' or"),
    ({"relaxed.temperature": [1.0, 0.0]}, "relaxed.temperature.1: must be greater than 0, but got 0.0"),
    ({"relaxed.arch_lr": 0}, "relaxed.arch_lr: must be greater than 0, but got 0"),
    ({"relaxed.exits": {"blended": True}}, "relaxed.exits: must be set only for the training of single networks"),
    (
        {"relaxed.distillation": 0.3},
        "relaxed.distillation: must be absent for relaxed networks, whose loss is weighted by aux, but got 0.3",
    ),
    (
        {"relaxed.exit_weights": "linear"},
        "relaxed.exit_weights: must be absent for relaxed networks, whose loss is weighted by aux, but got linear",
    ),
]
SPACES: list[tuple[dict[str, Any], str]] = [
    (STAGED, "backbone: must be dag where strategy is adaptive_darts, but got staged"),
    (
        SPACE | {"exits": SPACE["exits"] | {"boosted": [False, True]}},
        "exits.boosted: must be one value where strategy is adaptive_darts, but got [False, True]",
    ),
    (
        SPACE | {"stem": {"width": [4, 6]}},
        "stem.width: must be one value where strategy is adaptive_darts, but got [4, 6]",
    ),
    (
        SPACE | {"dag": SPACE["dag"] | {"stacks": [{"width": [4, 6]}]}},
        "dag.stacks.0.width: must be one value where strategy is adaptive_darts, but got [4, 6]",
    ),
    (
        SPACE | {"policy": {"thresholds": {"genes": [0.5]}}},
        "policy.thresholds: must be optimise where strategy is adaptive_darts, but got genes",
    ),
    (
        SPACE | {"exits": {"at": "every_node", "depth": 3, "layer": ["conv", "sepconv", "basic"]}},
        "exits: must offer at most 16 branches where strategy is adaptive_darts, but got 27",
    ),
]


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    spec = deepcopy(EXPERIMENT | DARTS)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = spec
        for part in parents:
            place = place[part]
        place[last] = value
    return spec


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=[f"{n}-{next(iter(c))}" for n, (c, _) in enumerate(CASES)])
def test_a_bad_spec(refused, tmp_path, changes, expected):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(changed(changes)), encoding="utf-8")
    line = refused(tmp_path, "search", tmp_path / "spec.yaml", "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path / 'spec.yaml'}: {expected}"), line


@pytest.mark.parametrize(("space", "expected"), SPACES, ids=map(str, range(len(SPACES))))
def test_a_space_that_cannot_be_relaxed(refused, tmp_path, space, expected):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(changed({})), encoding="utf-8")
    line = refused(tmp_path, "search", tmp_path / "spec.yaml", "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path / 'space.yaml'}: {expected}"), line


@pytest.mark.parametrize("init", ["RUN", "from"])
def test_an_init_of_another_form(refused, tmp_path, init):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(changed({"strategy": {"init": init}})), encoding="utf-8")
    line = refused(tmp_path, "search", tmp_path / "spec.yaml", "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path / 'spec.yaml'}: strategy.init: must read 'from RUN', where RUN is the folder"), (
        line
    )
