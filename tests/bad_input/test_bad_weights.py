"""Weights and checkpoints that are damaged, or contain code: reported in one line, nothing is run."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

TOUCHED = ("run.lock", "notes.lock", "env_info.json", "pip_freeze.txt", "protocol.json", "seconds.json", "pflop.json")
"""Files that resuming a run may write before it reads the damaged one."""


class Evil:
    """Makes a folder `ran` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def changed_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """Damage to weights that leaves them a safetensors file."""

    def damage(path: Path) -> None:
        state = load_file(path)
        change(state)
        save_file(state, path)

    return damage


def transposed(state: dict[str, torch.Tensor]) -> None:
    name = next(name for name in sorted(state) if name.endswith("linear/weight"))
    state[name] = state[name].T.contiguous()


WEIGHTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: path.unlink(), "the weights are missing; run the search command again to create them"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as weights: "),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read as weights: "),
    "a truncated header": (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be read as weights: "),
    "a header that lies": (
        lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
        "cannot be read as weight",
    ),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(Evil())), "cannot be read as weights: "),
    "a torch file": (lambda path: torch.save({"x": Evil()}, path), "cannot be read as weights: "),
    "text": (lambda path: path.write_text("weights"), "cannot be read as weights: "),
    "other shapes": (changed_weights(transposed), "weights must fit the network: "),
    "one too few": (changed_weights(lambda state: state.pop(min(state))), "weights must fit the network, but "),
    "one too many": (
        changed_weights(lambda state: state.update(more=torch.ones(1))),
        "weights must fit the network, but m",
    ),
}


@pytest.mark.parametrize("damage, expected", WEIGHTS.values(), ids=WEIGHTS)
def test_damaged_weights(refused, run, damage, expected):
    weights = run / "checkpoints" / "supernet.safetensors"
    damage(weights)
    for command in (["evaluate"], ["export", "--out", run.parent / "out"]):
        line = refused(run.parents[1], command[0], run, "--pick", "knee", *command[1:])
        assert line.startswith(f"{weights}: {expected}"), line


def torch_zip(path: Path, member: bytes) -> None:
    """A file laid out as torch's, with another pickle in it."""
    torch.save({"epochs_done": 1}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, member if name.endswith("data.pkl") else content)


CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("checkpoint"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "a pickle in torch's form": lambda path: torch.save({"module": Evil()}, path),
    "a pickle in torch's archive": lambda path: torch_zip(path, pickle.dumps(Evil())),
    "half a file": lambda path: (torch.save(torch.ones(9999), path), path.write_bytes(path.read_bytes()[:9999])),
    "something else": lambda path: torch.save([1, 2], path),
    "another network": lambda path: torch.save({"module": {"x": torch.ones(1)}, "epochs_done": 1}, path),
}


@pytest.mark.parametrize("damage", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_damaged_checkpoints(run, damage, capsys):
    """The search resumes, so some files are written, but neither results nor the checkpoint."""
    from aebnas.cli.main import main

    (run / "checkpoints" / "supernet.safetensors").unlink()
    checkpoint = run / "checkpoints" / "supernet.pt"
    damage(checkpoint)
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name not in TOUCHED}
    with pytest.raises(SystemExit) as leaving:
        main(["resume", str(run)])
    line = capsys.readouterr().err.splitlines()[-1]
    assert leaving.value.code == 2
    assert line.startswith(f"error: {checkpoint}: must be a checkpoint of this run, but cannot be read (")
    assert not Path("ran").exists()
    for path, content in kept.items():
        assert path.read_bytes() == content
