"""Weight files of a run: their paths, writing and reading."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from aebnas.core.atomic_files import write_bytes
from aebnas.core.errors import UserError
from aebnas.run.run_directory import Run


def model_weights(run: Run, point_id: str) -> Path:
    """The file of a point's retrained weights."""
    return run.model_folder(point_id) / "weights.safetensors"


def candidate_weights(run: Run, architecture_id: str) -> Path:
    """The file of a separately trained candidate's weights, which exists while it is on the front."""
    return run.folder / "models" / f"{architecture_id}.safetensors"


def delete_other_weights(run: Run, architecture_ids: Collection[str]) -> list[str]:
    """Delete the weights of all candidates except these; returns the ids of the deleted ones."""
    surplus = [path for path in (run.folder / "models").glob("*.safetensors") if path.stem not in architecture_ids]
    for path in surplus:
        path.unlink()
    return [path.stem for path in surplus]


def save_weights(module: torch.nn.Module, path: Path) -> None:
    """Write a module's weights and norm statistics as safetensors, atomically."""
    state = {k: v.contiguous().cpu() for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    write_bytes(path, save(state))


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Read weights that `save_weights` wrote; raises UserError if they are missing, unreadable or don't fit."""
    if not path.exists():
        raise UserError(f"{path}: the weights are missing; run the search command again to create them")
    try:
        state, wanted = load_file(path), module.state_dict()
        for name in state.keys() & wanted.keys():
            if (got := list(state[name].shape)) != (shape := list(wanted[name].shape)):
                raise UserError(f"{path}: weights must fit the network: {name} must have shape {shape}, but got {got}")
        missing, surplus = module.load_state_dict(state, strict=False)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(
            f"{path}: cannot be read as weights: {str(error).splitlines()[0]}; "
            "delete it, and the command that wrote it will write it again"
        ) from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or surplus:
        problem = f"{missing[0]} is missing" if missing else f"{surplus[0]} is not one of its tensors"
        raise UserError(f"{path}: weights must fit the network, but {problem}")


def weights_digest(path: Path) -> str:
    """A digest (16 hexadecimal digits) of a weight file; raises UserError if it is missing."""
    if not path.exists():
        raise UserError(f"{path}: the weights are missing; run the search command again to create them")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]


def weight_names(path: Path) -> list[str]:
    """Names of the tensors in a weight file; empty if it can't be read, which `load_weights` reports."""
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError):
        return []
