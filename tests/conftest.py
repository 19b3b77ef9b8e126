"""Shared fixtures: the repository, its bundled spaces, small spaces for brute force, and random networks."""

import os
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: test processes side by side would fight for the cores
os.environ |= {"RAY_worker_niceness": "0"}  # else Ray's workers make way for everything and take minutes to start

import numpy as np
import pytest
import torch

from aebnas.core.ray_cluster import cores
from aebnas.evaluation.evaluator import Evaluator
from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec

ROOT = Path(__file__).resolve().parent.parent
LARGE = ROOT / "search_spaces" / "aebnas_mbv3.yaml"
"""Too large for tests over many architectures; it has tests of its own."""
HEAVY = {ROOT / "search_spaces" / f"{name}.yaml" for name in ("darts_4node", "nasbench201")}
"""Wide and deep: running their networks takes minutes; `tests/space/test_cells.py` looks at them."""
ALIKE = {ROOT / "search_spaces" / "resnet_cifar100.yaml"}
"""As `resnet_cifar_wide` but for widths and classes; `tests/experiments/test_experiments_of_sets.py` runs it."""
BUNDLED = sorted(set((ROOT / "search_spaces").glob("*.yaml")) - {LARGE} - HEAVY - ALIKE)

SLOW = ("training/test_distributed.py", "survival/test_lost_workers.py", "survival/test_kills.py")
"""Files that go first, so that none of them is left when the other processes have nothing to do any more."""

BASIC = {"width": 4, "depth": 1, "op": "basic"}
SMALL_SPACES = {
    "skip": {
        "stem": {"width": [4, 6]},
        "stages": [
            {"width": 4, "depth": [1, 3], "op": ["basic", "skip"]},
            {"width": [4, 8], "depth": 1, "stride": [1, 2], "op": "basic"},
        ],
    },
    "in_stage_sites": {
        "stem": {"width": 4},
        "stages": [
            {"width": 4, "depth": [1, 2, 3], "op": "basic", "kernel": [1, 3]},
            {"width": 6, "depth": [1, 2], "stride": 2, "op": "basic"},
        ],
        "exits": {"at": ["stage2.block1", "stage1", "stage1.block2", "stage1.block1"]},
    },
    "site_in_a_deep_stage": {
        "stem": {"width": 4},
        "stages": [{"width": [4, 6], "depth": 3, "op": "basic"}],
        "exits": {"at": "stage1.block1"},
    },
    "branches": {
        "stem": {"width": 4},
        "stages": [
            {
                "width": 4,
                "depth": [1, 2],
                "op": ["skip", "mbconv", "basic"],
                "kernel": [1, 3],
                "expand": [2, 3],
            },
            BASIC,
        ],
        "exits": {"optional": False, "depth": [0, 2], "layer": ["conv", "maxpool"], "width": [1, 2]},
    },
    "threshold_genes": {
        "stem": {"width": 4},
        "stages": [BASIC, BASIC, {"width": [4, 8], "depth": 1, "op": ["basic", "skip"]}],
        "policy": {"criterion": ["margin", "confidence"], "thresholds": {"genes": [0.5, "never", 0.9]}},
    },
    "threshold_genes_without_never": {
        "stem": {"width": 4},
        "stages": [{"width": 4, "depth": [1, 2], "op": "basic"}, BASIC],
        "exits": {"at": ["stage1.block1", "stage1"]},
        "policy": {"criterion": ["margin", "confidence"], "thresholds": {"genes": [0.5, 0.9]}},
    },
    "resolutions": {
        "input": {"channels": 1, "resolution": [6, 7, 8], "image_size": 7},
        "stem": {"width": 4},
        "stages": [BASIC | {"stride": [1, 2]}, BASIC | {"stride": 2, "op": ["conv", "sepconv"]}],
        "exits": {"depth": [0, 2], "layer": ["conv", "resize+conv"], "side": [2, 5]},
    },
    "rectangles": {
        "input": {"channels": 2, "resolution": ["6x10", "9x4"], "image_size": "6x10"},
        "stem": {"width": 4},
        "stages": [BASIC | {"stride": [1, 2]}, BASIC | {"stride": 2, "op": ["conv", "mbconv"], "kernel": [1, 3]}],
        "exits": {"depth": [0, 2], "layer": ["conv", "resize+conv"], "side": ["2x5", 3]},
    },
    "variants": {
        "stem": {"width": 4, "act": ["relu", "hswish"]},
        "stages": [
            {"width": 4, "depth": 1, "op": ["mbconv", "fused_mbconv", "basic"]}
            | {"expand": [1, 2], "se": [False, True], "act": ["relu", "hswish"]},
            BASIC,
        ],
        "exits": {"depth": 1, "layer": ["mbconv", "resize", "maxpool"], "side": 3}
        | {"se": [True, False], "pool": ["avg", "max", "avgmax"]},
    },
    "positions": {
        "stem": {"width": 4},
        "stages": [
            {"width": 4, "depth": [1, 3], "op": "mbconv", "expand": [1, 2]}
            | {"blocks": [{"op": ["basic", "conv"]}, {"kernel": [1, 3], "expand": 2}]},
            BASIC,
            BASIC,
        ],
        "exits": {"depth": [0, 1], "layer": ["conv", "maxpool"]}
        | {"sites": {"stage2": {"depth": 1, "optional": False, "width": [1, 2]}}},
    },
    "dag": {
        "stem": {"width": 4},
        "backbone": "dag",
        "dag": {"nodes": 3, "edges": [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]], "stacks": [{"width": [4, 6]}]}
        | {"ops": [{"op": "conv", "kernel": 1}, "identity", "zero"]},
        "exits": {"at": "every_node", "depth": [0, 1]},
    },
    "dag_of_rectangles": {
        "input": {"channels": 5, "resolution": ["4x11", "12x5"]},
        "stem": {"width": 4},
        "backbone": "dag",
        "dag": {"nodes": 2, "edges": [[0, 1], [1, 2]], "ops": [{"op": "sepconv", "kernel": [1, 3]}, "avgpool"]}
        | {"stacks": [{"width": 4}, {"width": 6}]},
        "exits": {"at": "cell1.node1", "depth": [0, 1], "layer": ["conv", "maxpool"]},
    },
    "dag_without_zero": {
        "stem": {"width": 4},
        "backbone": "dag",
        "dag": {"nodes": 2, "ops": [{"op": "sepconv", "kernel": [1, 3]}, "maxpool"]}
        | {"stacks": [{"width": 4}, {"width": 6}]},
        "exits": {"at": ["cell2.node1", "cell1"], "optional": False, "depth": [0, 1]},
    },
    "dag_shared": {
        "stem": {"width": 4},
        "backbone": "dag",
        "dag": {"nodes": 2, "ops": ["zero", {"op": "mbconv", "expand": [1, 2]}, "identity"], "shared": True}
        | {"stacks": [{"width": [4, 6], "cells": 2}, {"width": 8, "stride": 1}]},
        "exits": {"at": "every_cell", "sites": {"cell1": {"optional": False}}},
    },
    "dag_with_thresholds": {
        "stem": {"width": 4},
        "backbone": "dag",
        "dag": {"nodes": 2, "ops": ["zero", "conv"], "stacks": [{"width": 4}, {"width": 4}]},
        "exits": {"at": "every_node"},
        "policy": {"criterion": ["margin", "confidence"], "thresholds": {"genes": [0.5, "never"]}},
    },
    "boosted_or_not": {
        "stem": {"width": 4},
        "stages": [{"width": [4, 6], "depth": [1, 2], "op": "basic"}, BASIC | {"stride": 2}, BASIC],
        "exits": {"at": ["stage1.block1", "stage2"], "depth": [0, 1], "boosted": [False, True]},
        "policy": {"thresholds": {"genes": [0.5, "never"]}},
    },
    "boosted": {
        "stem": {"width": 4},
        "stages": [
            {"width": [4, 6], "depth": [1, 3], "op": "basic", "kernel": [1, 3]},
            BASIC | {"stride": 2},
            {"width": 2, "depth": 1, "op": "conv", "kernel": 1, "stride": 4},
        ],
        "exits": {"at": ["stage1.block1", "stage1.block2", "stage1", "stage2"], "boosted": True}
        | {"sites": {"stage1.block2": {"optional": False, "depth": [0, 1]}, "stage2": {"optional": False}}},
    },
    "boosted_dag": {
        "stem": {"width": 4},
        "backbone": "dag",
        "dag": {"nodes": 2, "ops": ["zero", "conv"], "stacks": [{"width": [4, 6]}, {"width": 8}]},
        "exits": {"at": "every_node", "boosted": True}
        | {"sites": {"cell1.node1": {"optional": False, "depth": 1}, "cell1": {"optional": False, "depth": [0, 1]}}},
    },
    "boosted_dag_without_zero": {
        "stem": {"width": 4},
        "backbone": "dag",
        "dag": {"nodes": 2, "ops": ["sepconv", "maxpool"]} | {"stacks": [{"width": 4}, {"width": 6}]},
        "exits": {"at": ["cell1.node1", "cell1"], "optional": False, "depth": [0, 1], "boosted": True},
    },
    # one architecture, whose branch costs more than everything else
    "costly_branch": {
        "stem": {"width": 8},
        "stages": [{"width": 8, "depth": 1, "op": "basic", "kernel": 1}, BASIC | {"stride": 2, "kernel": 1}],
        "exits": {"optional": False, "depth": 3, "layer": "conv", "kernel": 3, "width": 4},
    },
}


def pytest_xdist_auto_num_workers(config) -> int:
    """One test process for each core (four have enough to do), none beside pytest's own for the tests of one file."""
    files = {argument.partition("::")[0] for argument in config.args}
    return 0 if len(files) == 1 and files.pop().endswith(".py") else min(cores(), 4)


def pytest_collection_modifyitems(items) -> None:
    items.sort(key=lambda item: item.path.relative_to(ROOT / "tests").as_posix() not in SLOW)  # stable


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session", params=BUNDLED, ids=lambda path: path.stem)
def bundled(request) -> SearchSpace:
    """Every space of `search_spaces/` that is in `BUNDLED`, one at a time."""
    return SearchSpace.load(request.param, classes=10)  # where a space leaves them out


@pytest.fixture(scope="session")
def digits() -> SearchSpace:
    return SearchSpace.load(ROOT / "search_spaces" / "digits_tiny.yaml")


@pytest.fixture(scope="session")
def large() -> SearchSpace:
    return SearchSpace.load(LARGE)


@pytest.fixture(scope="session", params=SMALL_SPACES)
def small(request) -> SearchSpace:
    """Spaces small enough to enumerate, one at a time."""
    return small_space(request.param)


@pytest.fixture(scope="session")
def make_small():
    """The function from a small space's name to the space."""
    return small_space


@pytest.fixture(scope="session")
def everything():
    """The function from a small space to the candidates of all its genomes (with repetition)."""

    last = []  # a space's tests run one after the other

    def all_candidates(space):
        if not last or last[0] is not space:
            last[:] = space, [space.decode(genome) for genome in product(*map(range, space.gene_sizes))]
        return last[1]

    return all_candidates


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture(scope="session")
def architectures():
    """The function that draws architectures of a space."""

    def draw(space, count, seed=0):
        rng = np.random.default_rng(seed)
        return [space.decode(space.sample(rng)).architecture for _ in range(count)]

    return draw


@pytest.fixture(scope="session")
def pixels():
    """The function that draws images of an architecture's input shape."""

    def draw(architecture, count, seed=0):
        shape = (count, *architecture.image_shape)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture(scope="session")
def random_network():
    """The function that builds an architecture's network in evaluation mode, nothing at its default."""

    def build(architecture, seed=0) -> Network:
        return randomise(Network(lower(architecture)), seed).eval()

    return build


@pytest.fixture(scope="session")
def randomise_module():
    """`randomise`, as a fixture."""
    return randomise


def small_space(name: str) -> SearchSpace:
    defaults = {"input": {"channels": 1, "resolution": 8}, "classes": 3}
    return SearchSpace(SpaceSpec.model_validate(defaults | SMALL_SPACES[name]))


def randomise(module, seed=0):
    """Draw all weights and norm statistics anew, norm weights included; returns the module."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.ndim > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * tensor[0].numel() ** -0.5)
            elif tensor.is_floating_point():
                spread = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(spread + 0.5 if name.endswith(("weight", "running_var")) else spread - 0.5)
    return module


@pytest.fixture
def scored(monkeypatch):
    """The ids of the architectures whose tables are made."""
    ids, score = [], Evaluator.score

    def note(self, architecture, *more):
        ids.append(architecture.id)
        return score(self, architecture, *more)

    monkeypatch.setattr(Evaluator, "score", note)
    return ids
