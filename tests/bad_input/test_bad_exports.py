"""Damaged exports and images, given to the folder's own command: one line, exit code 2, nothing run."""

import json
import os
import pickle
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_run import searched

from aebnas.selected.evaluate import export


class Evil:
    """Makes a folder `ran` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def own_main(folder: Path, *arguments: str) -> int:
    """The command of the folder's own `model.py`, without the seconds a new process takes; gives its exit code."""
    return runpy.run_path(str(folder / "model.py"))["main"](arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An export that no test may change."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(searched(tmp_path_factory), "best-accuracy", folder)
    return folder


@pytest.fixture
def refused(whole, tmp_path, monkeypatch, capsys):
    """The function that damages a copy of the export and returns what its command prints after `error: FOLDER/`."""
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    monkeypatch.chdir(tmp_path)

    def run(damage: Callable[[Path], Any], *arguments: str) -> str:
        damage(folder)
        capsys.readouterr()
        assert own_main(folder, *(arguments or ["--check"])) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
        assert not Path("ran").exists()
        return err.removeprefix("error: ").removeprefix(f"{folder}/").removesuffix("\n")

    return run


def changed(name: str, path: str, value: Any) -> Callable[[Path], None]:
    """Damage to a JSON file: another value at a dotted path."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        *parents, last = path.split(".")
        place = content
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[int(last) if isinstance(place, list) else last] = value
        (folder / name).write_text(json.dumps(content))

    return damage


def written(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-50])


def recorded(**changes: Any) -> Callable[[Path], Any]:
    """Damage to the recorded outputs that leaves a valid archive."""

    def damage(folder: Path) -> None:
        with np.load(folder / "check.npz") as file:
            content = dict(file)
        np.savez(folder / "check.npz", **content | changes)

    return damage


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], Any]:
    """Damage to the weights that leaves them a safetensors file."""

    def damage(folder: Path) -> None:
        state = load_file(folder / "weights.safetensors")
        change(state)
        save_file(state, folder / "weights.safetensors")

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "weights: a pickle": (
        written("weights.safetensors", pickle.dumps(Evil())),
        "weights.safetensors: cannot be read: ",
    ),
    "weights: a torch file": (
        lambda f: torch.save(Evil(), f / "weights.safetensors"),
        "weights.safetensors: cannot be ",
    ),
    "weights: truncated": (cut("weights.safetensors"), "weights.safetensors: cannot be read: "),
    "weights: empty": (written("weights.safetensors", b""), "weights.safetensors: cannot be read: "),
    "weights: a header that lies": (
        written("weights.safetensors", b"\xff" * 99),
        "weights.safetensors: cannot be read: ",
    ),
    "weights: one missing": (
        weights(lambda state: state.pop(min(state))),
        "weights.safetensors: cannot be read: missing ",
    ),
    "weights: one too many": (
        weights(lambda s: s.update(a=torch.ones(1))),
        "weights.safetensors: cannot be read: missin",
    ),
    "weights: another shape": (
        weights(lambda state: state.update({min(state): torch.ones(2, 3)})),
        "weights.safetensors: cannot be read: Error(s) in loading state_dict for Network: size mismatch for ",
    ),
    "graph: no JSON": (written("graph.json", b"{"), "graph.json: cannot be read: "),
    "graph: a list": (written("graph.json", b"[]"), "graph.json: cannot be read: "),
    "graph: deep": (
        written("graph.json", b"[" * 10**5),
        "graph.json: cannot be read: maximum recursion depth exceeded",
    ),
    "graph: an unknown op": (
        changed("graph.json", "nodes.0.op", "os.system"),
        "graph.json: cannot be read: node 'stem': ",
    ),
    "graph: an imported module": (changed("graph.json", "nodes.0.op", "module"), "graph.json: cannot be read: "),
    "graph: a large kernel": (
        changed("graph.json", "nodes.0.attrs.kernel", 99),
        "graph.json: cannot be read: node 'stem'",
    ),
    "graph: a huge layer": (
        changed("graph.json", "nodes.0.attrs.out_channels", 10**15),
        "graph.json: cannot be read: ",
    ),
    "graph: channels that don't fit": (
        changed("graph.json", "nodes.1.attrs.in_channels", 99),
        "graph.json: cannot be re",
    ),
    "graph: no exits": (
        changed("graph.json", "exits", []),
        "graph.json: cannot be read: a graph must have at least one exit",
    ),
    "graph: an exit on nothing": (
        changed("graph.json", "exits.0.site", "x"),
        "graph.json: cannot be read: exit on 'x': ",
    ),
    "policy: an unknown criterion": (
        changed("policy.json", "criterion", "luck"),
        "policy.json: cannot be read: criterion",
    ),
    "policy: out of range": (
        changed("policy.json", "thresholds", [7]),
        "policy.json: cannot be read: threshold of exit 1",
    ),
    "policy: text": (changed("policy.json", "thresholds", ["x"]), "policy.json: cannot be read: "),
    "policy: too many": (
        changed("policy.json", "thresholds", [0.5] * 9),
        "policy.json: cannot be read: temperatures must be 10 numbers",
    ),
    "policy: of another network": (
        lambda folder: [
            changed("policy.json", "thresholds", [0.5] * 9)(folder),
            changed("policy.json", "temperatures", [1.0] * 10)(folder),
        ],
        ": graph.json, policy.json, costs.json and monitor.json do not",
    ),
    "preprocessing: a shape of two": (
        changed("preprocessing.json", "shape", [1, 8]),
        "preprocessing.json: cannot be read: ",
    ),
    "preprocessing: another shape": (
        changed("preprocessing.json", "shape", [1, 9, 9]),
        ": graph.json and preprocessing.",
    ),
    "preprocessing: fewer classes": (
        changed("preprocessing.json", "classes", ["a"]),
        ": graph.json and preprocessing.json",
    ),
    "preprocessing: no mean": (changed("preprocessing.json", "mean", []), "preprocessing.json: cannot be read: "),
    "costs: missing": (lambda folder: (folder / "costs.json").unlink(), "costs.json: no such file"),
    "costs: another number of exits": (
        changed("costs.json", "macs_to_exit", [1] * 9),
        ": graph.json, policy.json, costs.json and monitor",
    ),
    "record: empty": (written("check.npz", b""), "check.npz: cannot be read: "),
    "record: truncated": (cut("check.npz"), "check.npz: cannot be read: "),
    "record: objects": (
        recorded(images=np.array([Evil()] * 4, object)),
        "check.npz: cannot be read: Object arrays cannot",
    ),
    "record: other images": (
        recorded(images=np.zeros((4, 3, 9, 9), np.uint8)),
        "check.npz: cannot be read: images must be uint8",
    ),
    "record: no images": (
        recorded(images=np.zeros((0, 1, 8, 8), np.uint8)),
        "check.npz: cannot be read: the recorded logits",
    ),
    "record: fewer labels": (
        recorded(labels=np.zeros(1, np.int64)),
        "check.npz: cannot be read: an exit and a label must",
    ),
    "code: missing": (lambda folder: (folder / "runtime" / "ops.py").unlink(), "runtime/ops.py: no such file"),
    "code: cut": (written("runtime/ops.py", b"OPS = {"), "runtime: cannot be read: "),
}


@pytest.mark.parametrize("damage, expected", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_export(refused, tmp_path, damage, expected):
    line = refused(damage).removeprefix(str(tmp_path / "model"))
    assert line.startswith(expected), line


def half_a_image(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])


UNREADABLE = "must be a readable image, but got "
IMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "must be an image file, but got no such file"),
    "empty": (lambda path: path.write_bytes(b""), f"{UNREADABLE}UnidentifiedImageError: "),
    "text": (lambda path: path.write_text("no image"), f"{UNREADABLE}UnidentifiedImageError: "),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(Evil())), f"{UNREADABLE}UnidentifiedImageError: "),
    "half a file": (half_a_image, UNREADABLE),
    "a folder": (lambda path: path.mkdir(), f"{UNREADABLE}IsADirectoryError: "),
    "floating-point numbers": (
        lambda path: Image.new("F", (8, 8)).save(path, "TIFF"),
        "must hold whole numbers, but got floating-point ones",
    ),
}


@pytest.mark.parametrize("make, expected", IMAGES.values(), ids=IMAGES)
def test_a_bad_image(refused, tmp_path, make, expected):
    make(tmp_path / "a.png")
    line = refused(lambda folder: None, "a.png")
    assert line.startswith(f"a.png: {expected}"), line


def test_the_whole_export_passes(whole):
    assert own_main(whole, "--check") == 0
