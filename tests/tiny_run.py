"""A whole search in a second or two, for tests of everything above the layers: digits, two stages, eight trials."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from made_up_device import write_made_up

from aebnas.report.run_report import RunReport
from aebnas.run.events import RunEvents
from aebnas.run.front_files import FrontFiles
from aebnas.run.run_facts import RunFacts
from aebnas.search.loop import run_search

SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 10,
    "stem": {"width": 4},
    "stages": [
        {"width": [4, 8], "depth": [1, 2], "op": ["basic", "mbconv"], "kernel": [1, 3], "expand": 2},
        {"width": [8, 12], "depth": 1, "stride": 2, "op": "basic"},
    ],
    "exits": {"depth": [0, 1], "layer": ["conv", "maxpool"]},
    "policy": {
        "criterion": ["confidence", "margin"],
        "thresholds": {"optimise": {"per_exit": 10, "max_points": 4}},
    },
}
GENES = SPACE | {"policy": {"criterion": "margin", "thresholds": {"genes": [0.2, 0.6, "never"]}}}
FEW_GENES = GENES | {
    "stages": [{"width": 4, "depth": 1, "op": "basic"}, {"width": [8, 12], "depth": 1, "stride": 2, "op": "basic"}],
    "exits": {"optional": False},
}
"""Two architectures with three thresholds each."""

TRAIN: dict[str, Any] = {"epochs": 2, "batch_size": 64, "precision": "fp32", "recipe": "classic", "warmup": 0.5}
EXPERIMENT: dict[str, Any] = {
    "space": "space.yaml",
    "data": {"name": "digits", "splits": {"search": 0.2, "calibrate": 0.2, "certify": 0}},
    "objectives": ["accuracy", "avg_macs"],
    "supernet": TRAIN | {"random_subnets": 1, "branches": 1, "lr": 35.2, "weight_decay": 0.0176},
    "evaluate": {"calibration_images": 128},
    "strategy": {"name": "nsga2", "population": 4, "generations": 2},
    "retrain": TRAIN | {"epochs": 1, "lr": 8.8, "warmup": 0.9},
}

ON_DEVICE: dict[str, Any] = {
    "objectives": ["accuracy", "latency_ms"],
    "constraints": ["latency_ms@p99 <= 2", "peak_memory_bytes <= 1e5"],
    "device": {"profile": "chip.json", "threads": 1},
}


def write_spec(folder: Path, space: dict[str, Any] = SPACE, **changes: Any) -> Path:
    """Write `space.yaml` and `tiny.yaml` into a folder; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT | changes), encoding="utf-8")
    return folder / "tiny.yaml"


def searched(factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, made once for all tests; none may change it. Its spec lies in `../spec`."""
    return _search(factory.getbasetemp() / "searched", with_genes=False)


def searched_genes(factory: pytest.TempPathFactory) -> Path:
    """The same for a space whose thresholds are genes."""
    return _search(factory.getbasetemp() / "searched_genes", with_genes=True)


def certified(factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of one architecture with two early exits and images to certify; as `searched`."""
    return _search_certified(factory.getbasetemp() / "certified")


@cache
def _search_certified(base: Path) -> Path:
    stages = [{"width": 8, "depth": 2, "op": "basic"}, {"width": 16, "depth": 1, "stride": 2, "op": "basic"}]
    exits = {"at": ["stage1.block1", "stage1"], "optional": False}
    spec = write_spec(
        base / "spec",
        SPACE | {"stem": {"width": 8}, "stages": stages, "exits": exits},
        data={"name": "digits", "splits": {"search": 0.15, "calibrate": 0.2, "certify": 0.2}},
        supernet=EXPERIMENT["supernet"] | {"epochs": 4},
        strategy={"name": "random", "population": 4, "generations": 1},
    )
    run_search(spec, base / "run", listen=RunReport)
    return base / "run"


@cache
def _search(base: Path, with_genes: bool) -> Path:
    run_search(write_spec(base / "spec", GENES if with_genes else SPACE), base / "run", listen=RunReport)
    return base / "run"


@cache
def _search_on_device(base: Path, weights: Path) -> Path:
    write_made_up(SPACE, write_spec(base / "spec", **ON_DEVICE).parent / "chip.json")
    (base / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(weights, base / "run" / "checkpoints")  # of the same spec and seed
    run_search(base / "spec" / "tiny.yaml", base / "run", listen=RunReport)
    return base / "run"


def searched_on_device(factory: pytest.TempPathFactory) -> Path:
    """The same search for a made-up device: accuracy against latency."""
    weights = searched(factory) / "checkpoints" / "supernet.safetensors"
    return _search_on_device(factory.getbasetemp() / "on_device", weights)


def own_copy(run: Path, folder: Path) -> Path:
    """A copy of a finished run (and of its spec) to be changed at will."""
    shutil.copytree(run.parent, folder / "copy")
    return folder / "copy" / run.name


def write_report(run: Path) -> None:
    """Write front files, plot and page of a run anew from its trials, as the end of a search does."""
    facts = RunFacts.read(run)
    files = FrontFiles(facts)
    files.add(facts.run.trials())
    files.write(finished=True)
    RunReport(facts).search_finished()


class Stopped(BaseException):
    """Stands for a kill: nothing may catch it."""


class StoppedInTraining(RunEvents):
    """A listener that stands for a kill after the first epoch of a training."""

    def training_rows(self, name, rows):
        if rows:
            raise Stopped


def front_of(folder) -> bytes:
    """`pareto.csv` as it lies on disk."""
    return (folder / "pareto.csv").read_bytes()
