"""Reading an exported folder, to write it again with another policy."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from aebnas.core.errors import UserError
from aebnas.export.card import CardFacts
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.runtime.preprocessing import Preprocessing


@dataclass(frozen=True)
class Exported:
    """The parts of an export; `samples` are the recorded images, uint8 `[n, c, h, w]`."""

    network: Network
    policy: ExitPolicy
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    samples: Tensor
    facts: CardFacts


def read_export(folder: Path) -> Exported:
    """All parts of an exported folder; raises UserError naming the file that is missing or damaged."""
    graph = _read(folder, "graph.json", Graph.from_json)
    weights = folder / "weights.safetensors"
    network = Network(graph)
    try:
        fit = network.load_state_dict(load_file(weights), strict=False)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"{weights}: cannot be read: {str(error).splitlines()[0]}") from None
    missing = [name for name in fit.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or fit.unexpected_keys:
        raise UserError(f"{weights}: must match graph.json, but {(missing or fit.unexpected_keys)[0]} doesn't")
    preprocessing, names = _read(folder, "preprocessing.json", _preprocessing)
    record = folder / "check.npz"
    try:
        with record.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            samples = torch.from_numpy(file["images"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{record}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    return Exported(
        network.eval(),
        _read(folder, "policy.json", ExitPolicy.from_json),
        preprocessing,
        names,
        samples,
        _read(folder, "card.json", CardFacts.from_json),
    )


def _preprocessing(value: dict[str, Any]) -> tuple[Preprocessing, tuple[str, ...]]:
    return Preprocessing.from_json(value), tuple(value["classes"])


def _read(folder: Path, name: str, make: Any) -> Any:
    path = folder / name
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{folder}: must be a folder that aebnas export wrote, but has no {name}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read: {why}") from None
