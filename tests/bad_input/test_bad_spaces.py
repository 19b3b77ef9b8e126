"""Malformed spaces, given to `aebnas space` and through a spec: one line with file, YAML path, rule and value.

ExitSites and values of each kind of key are tested in `tests/space`; here is what a space as a whole can get wrong.
"""

from copy import deepcopy
from typing import Any

import pytest
import yaml
from tiny_run import EXPERIMENT, SPACE

NAN, INF = float("nan"), float("inf")
SIZE = "must be pixels a side from 1 to 8192, such as 32, or height x width, such as 96x160"
CHANGES: list[tuple[str, Any, str]] = [
    # maps and windows
    (
        "stages.0.kernel",
        17,
        "stages.0.kernel: must be at most 15, to fit its 8x8 map at stage1.block1.basic, at input.",
    ),
    (
        "stages.1.kernel",
        [3, 99],
        "stages.1.kernel: must be at most 15, to fit its 8x8 map at stage2.block1.basic, at i",
    ),
    (
        "stem.kernel",
        31,
        "stem.kernel: must be at most 15, to fit its 8x8 map at stem, at input.resolution 8, but got 31",
    ),
    (
        "exits.kernel",
        9,
        "exits.kernel: must be at most 7, to fit its 4x4 map at exit.stage2.layer1.conv, at input.reso",
    ),
    ("exits.sites", {"stage1": {"kernel": 21}}, "exits.sites.stage1.kernel: must be at most 15, to fit its 8x8 map"),
    ("stages.0.blocks", [{"kernel": 1}, {"kernel": 33}], "stages.0.blocks.1.kernel: must be at most 15, to fit its 8x"),
    (
        "input.resolution",
        [8, 1],
        "stem.kernel: must be at most 1, to fit its 1x1 map at stem, at input.resolution 1, but",
    ),
    (
        "exits",
        {"depth": 1, "layer": "resize+conv", "side": 2, "kernel": 5},
        "exits.kernel: must be at most 3, to fit i",
    ),
    ("stem.stride", 9, "stem.stride: must be less than or equal to 4, but got 9"),
    ("stages.0.stride", 0, "stages.0.stride: must be greater than or equal to 1, but got 0"),
    ("stages.0.kernel", 2, "stages.0.kernel: kernels must be odd, but got 2"),
    ("stages.0.kernel", -3, "stages.0.kernel: must be greater than or equal to 1, but got -3"),
    # choices
    ("stages.0.op", [], "stages.0.op: must have at least one choice, but got []"),
    ("stages.0.depth", [], "stages.0.depth: must have at least one choice, but got []"),
    ("exits.layer", [], "exits.layer: must have at least one choice, but got []"),
    ("policy.criterion", [], "policy.criterion: must have at least one choice, but got []"),
    ("stages", [], "stages: must have at least one stage, but got []"),
    (
        "stages.0.op",
        "resnet",
        "stages.0.op: must be 'basic', 'conv', 'fused_mbconv', 'mbconv', 'sepconv' or 'skip', but ",
    ),
    (
        "stages.0.op",
        "basci",
        "stages.0.op: must be 'basic', 'conv', 'fused_mbconv', 'mbconv', 'sepconv' or 'skip', but ",
    ),
    ("exits.boosted", "yes", "exits.boosted: must be true or false, but got 'yes'"),
    ("exits.boosted", 1, "exits.boosted: must be true or false, but got 1"),
    ("exits.boosted", [], "exits.boosted: must have at least one choice, but got []"),
    ("exits.boosted", [True, True], "exits.boosted: choices must be distinct, but got [True, True]"),
    ("exits.sites", {"stage1": {"boosted": True}}, "exits.sites.stage1.boosted: unknown key"),
    ("stages.0.width", [4, 4], "stages.0.width: choices must be distinct, but got [4, 4]"),
    ("stages.0.width", list(range(1, 100)), "stages.0.width: must have at most 64 choices, but got 99"),
    (
        "stages.0",
        {"width": 4, "depth": 1, "op": "mbconv", "kernel": list(range(1, 15, 2)), "act": ["relu", "hswish"]}
        | {"se": [False, True], "expand": [1 + n / 4 for n in range(60)]}
        | {"op": ["mbconv", "basic", "conv", "skip"]}
        | {"kernel": list(range(1, 33, 2))},
        "stages.0: must have at most 10,000 combinations of choices, but got 15,360",
    ),
    ("stages.0.expand", [2, 2.01], "stages.0.expand: must give different widths from 4 channels, but got [2.0, 2.01]"),
    # numbers
    ("classes", 1, "classes: must be greater than or equal to 2, but got 1"),
    ("classes", True, "classes: must be a whole number, but got True"),
    ("classes", 10**17, "classes: must be less than or equal to 1000000, but got 100000000000000000"),
    ("stem.width", 0, "stem.width: must be greater than or equal to 1, but got 0"),
    ("stem.width", 10**9, "stem.width: must be less than or equal to 65536, but got 1000000000"),
    ("stages.0.depth", 10**9, "stages.0.depth: must be less than or equal to 100, but got 1000000000"),
    ("input.resolution", 10**9, f"input.resolution: {SIZE}, but got 1000000000"),
    ("input.resolution", [8, "8x"], f"input.resolution.1: {SIZE}, but got '8x'"),
    ("input.resolution", "8x9000", f"input.resolution: {SIZE}, but got '8x9000'"),
    ("input.resolution", [8, "8x8"], "input.resolution: choices must be distinct, but got [8, '8x8']"),
    ("input.image_size", [8, 12], f"input.image_size: {SIZE}, but got [8, 12]"),
    ("stages.0.expand", 1e300, "stages.0.expand: must be less than or equal to 100, but got 1e+300"),
    ("stages.0.expand", NAN, "stages.0.expand: must be a finite number, but got nan"),
    ("exits.width", INF, "exits.width: must be a finite number, but got inf"),
    ("exits.width", -1, "exits.width: must be greater than 0, but got -1"),
    ("stages.0.width", "4", "stages.0.width: must be a whole number, but got '4'"),
    ("stages.0.se", 1, "stages.0.se: must be true or false, but got 1"),
    ("stages.0", "basic", "stages.0: must be a mapping of keys, but got 'basic'"),
    ("stages", {"width": 3}, "stages: must be a list, but got {'width': 3}"),
    # exits and policy
    ("exits.at", "stage9", "exits.at: must be sites of exits (stage ends: stage1, stage2), but got 'stage9'"),
    (
        "exits.at",
        ["stage1.block7"],
        "exits.at: must be sites of exits (stage ends: stage1, stage2; after blocks: block1",
    ),
    ("exits.at", ["stage3"], "exits.at: must be sites of exits (stage ends: stage1, stage2), but got 'stage3'"),
    ("exits.at", ["stage1", "stage1"], "exits.at: sites must be distinct, but got ['stage1', 'stage1']"),
    ("exits.at", [3], "exits.at.0: must be text, but got 3"),
    ("exits.sites", {"stage7": {}}, "exits.sites: must be of stage1, stage2, but got 'stage7'"),
    ("exits.sites", [1], "exits.sites: must be a mapping of keys, but got [1]"),
    ("exits.layer", "resize", "exits.side: must be given for layer resize, but got nothing"),
    ("exits.depth", 4, "exits.depth: must be less than or equal to 3, but got 4"),
    ("policy.thresholds", {"genes": [1.5]}, "policy.thresholds.genes.0: must be less than or equal to 1, but got 1.5"),
    (
        "policy.thresholds",
        {"genes": [-0.1]},
        "policy.thresholds.genes.0: must be greater than or equal to 0, but got -",
    ),
    ("policy.thresholds", {"genes": [NAN]}, "policy.thresholds.genes.0: must be a finite number, but got nan"),
    ("policy.thresholds", {"genes": ["nevr"]}, "policy.thresholds.genes.0: must be "),
    ("policy.thresholds", {"genes": []}, "policy.thresholds.genes: must have at least one choice, but got []"),
    ("policy.thresholds", {"genes": [0.5], "optimise": {}}, "policy.thresholds: must have either genes or optimise, b"),
    ("policy.thresholds", {"optimise": {"per_exit": 1}}, "policy.thresholds.optimise.per_exit: must be greater than o"),
    ("policy.criterion", "confidense", "policy.criterion: must be 'confidence', 'entropy', 'margin', 'learned', 'pati"),
    ("policy.patience", 1, "policy.patience: must be greater than or equal to 2, but got 1"),
    ("policy.stop_thresholds", [0.1, 2], "policy.stop_thresholds.1: must be less than or equal to 1, but got 2"),
    ("policy.min_exit", "stage3", "policy.min_exit: must be of stage1, stage2, last, but got 'stage3', did you mean"),
    ("policy.min_exit_by_class", {"3": "stag2"}, "policy.min_exit_by_class.3: must be of stage1, stage2, last, but"),
    ("policy.min_exit_by_class", {"cat": "stag2"}, "policy.min_exit_by_class.cat: must be of stage1, stage2, last, "),
    ("policy.min_exit_by_class", {-1: "last"}, "policy.min_exit_by_class.-1: must be greater than or equal to 0, but"),
    ("policy.min_exit_by_class", {1.5: "last"}, "policy.min_exit_by_class: must be a whole number, but got 1.5"),
    ("policy.min_exit_by_class", {"10": "last"}, "policy.min_exit_by_class: classes must be in 0..9, but got 10"),
    ("policy.thresholds", {"optimise": {"method": "magic"}}, "policy.thresholds.optimise.method: must be 'auto', 'jo"),
    (
        "policy",
        {"criterion": "dual", "thresholds": {"genes": [0.5]}},
        "policy.criterion: must be of confidence, entropy, margin, learned with genes, but got 'dual'",
    ),
    # keys
    ("policies", {}, "policies: unknown key, did you mean 'policy'?"),
    ("stages.0.kernels", 3, "stages.0.kernels: unknown key, did you mean 'kernel'?"),
    ("exits.sites", {"stage1": {"dept": 1}}, "exits.sites.stage1.dept: unknown key, did you mean 'depth'?"),
]


def changed(path: str, value: Any) -> dict[str, Any]:
    """The tiny run's space with three stages and another value at a dotted path."""
    spec = deepcopy(SPACE)
    spec["stages"] += [{"width": 16, "depth": 1, "op": "basic"}]
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = spec
    for part in parents:
        place = place[part]
    place[last] = value
    return spec


@pytest.mark.parametrize("path, value, expected", CHANGES, ids=[f"{p}-{n}" for n, (p, _, _) in enumerate(CHANGES)])
def test_a_bad_value(refused, tmp_path, path, value, expected):
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)), encoding="utf-8")
    line = refused(tmp_path, "space", file)
    assert line.startswith(f"{file}: {expected}"), line


DAG: dict[str, Any] = {"nodes": 2, "ops": ["zero", "conv"], "stacks": [{"width": 4}]}
DAGS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"ops": ["zero", "conv3"]}, {}, "dag.ops.1: must be 'avgpool'"),
    ({"ops": "zero"}, {}, "dag.ops: must have an op besides zero, but got none"),
    ({"ops": ["conv", {"op": "conv", "kernel": 3}]}, {}, "dag.ops: must be distinct, but got conv3, conv3"),
    (
        {"ops": [{"op": "conv", "kernel": 99}]},
        {},
        "dag.ops.kernel: must be at most 15, to fit its 8x8 map at cell1.edge",
    ),
    ({"edges": [[0, 1], [0, 2]]}, {}, "dag.edges: must lead out of every node but the last, but none leads out of 1"),
    ({"edges": [[0, 2], [1, 2]]}, {}, "dag.edges: must lead into every node, but none leads into 1"),
    ({"edges": [[0, 3]]}, {}, "dag.edges: must lead from a node to a later one, up to 2, but got [0, 3]"),
    ({"nodes": 9}, {}, "dag.nodes: must be less than or equal to 8, but got 9"),
    ({"stacks": []}, {}, "dag.stacks: must have at least one stack, but got []"),
    (
        {},
        {"exits": {"at": "cell1.node2"}},
        "exits.at: must be sites of exits (cell ends: none; nodes: node1), but",
    ),
    (
        {"shared": True, "stacks": [{"width": 4, "cells": 2}]},
        {"exits": {"at": "every_node"}},
        "exits.at: must be ends of",
    ),
    ({}, {"stages": SPACE["stages"]}, "stages: must be absent when backbone is dag"),
    ({}, {"dag": None}, "dag: "),
    ({}, {"backbone": "staged"}, "stages: this key is required when backbone is staged"),
]


@pytest.mark.parametrize("dag, changes, expected", DAGS, ids=map(str, range(len(DAGS))))
def test_a_bad_dag(refused, tmp_path, dag, changes, expected):
    staged = {key: value for key, value in SPACE.items() if key not in ("stages", "exits")}
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(staged | {"backbone": "dag", "dag": DAG | dag} | changes), encoding="utf-8")
    line = refused(tmp_path, "space", file)
    assert line.startswith(f"{file}: {expected}"), line


@pytest.mark.parametrize(
    "strides, place, expected",
    [
        ([1, 4, 4, 4], 2, "must be at most 2, or nothing is left of its 2x2 map at stage3.block1.conv"),
        ([2, 2, 2, 2], 3, "must be at most 1, or nothing is left of its 1x1 map at stage4.block1.conv"),
        ([1, 1, 4, [1, 3]], 3, "must be at most 2, or nothing is left of its 2x2 map at stage4.block1.conv"),
    ],
)
def test_strides_that_shrink_the_input_to_nothing(refused, tmp_path, strides, place, expected):
    stages = [{"width": 4, "depth": 1, "op": "conv", "kernel": 1, "stride": stride} for stride in strides]
    space = SPACE | {"stem": {"width": 4, "kernel": 1}, "stages": stages, "exits": {"at": []}}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    line = refused(tmp_path, "search", tmp_path / "spec.yaml", "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path / 'space.yaml'}: stages.{place}.stride: {expected}"), line


@pytest.mark.parametrize("command", ["space", "search"])
def test_a_space_is_refused_alike_directly_and_through_a_spec(refused, tmp_path, command):
    (tmp_path / "space.yaml").write_text("classes: 3\nclasses: 4\n", encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    file = {"space": "space.yaml", "search": "spec.yaml"}[command]
    line = refused(tmp_path, command, tmp_path / file)
    assert line == f"{tmp_path / 'space.yaml'}, line 2, column 1: keys must be distinct, but got 'classes' twice"
