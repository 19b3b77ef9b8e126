"""Writing a network as a folder that requires torch, numpy, pillow and safetensors, and no aebnas.

The folder is written to a temporary directory beside its destination, checked with its own code, and then moved.
"""

import copy
import dataclasses
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

import aebnas.runtime
from aebnas.core.atomic_files import write_atomically, write_json, write_text
from aebnas.core.errors import UserError, check_utf8
from aebnas.export import model as model_source
from aebnas.export.card import CardFacts, ExportCosts, model_card
from aebnas.export.model import RUNTIME, Model
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.monitor import Expected
from aebnas.runtime.network import Network
from aebnas.runtime.normalise import normalise
from aebnas.runtime.ops import OPAQUE, OPS
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.space.input_spec import EXPORTED_CHANNELS

FILES = frozenset(
    {"README.md", "card.json", "check.npz", "costs.json", "graph.json", "model.py", "monitor.json", "policy.json"}
    | {"preprocessing.json", "weights.safetensors"}
    | {f"runtime/{name}.py" for name in RUNTIME}
)
RUNTIME_FILE = re.compile(r"runtime/\w+\.py")
"""Any module of the runtime: in exports of earlier versions some have other names."""
REQUIRED_FILES = frozenset({"model.py", "graph.json", "policy.json", "weights.safetensors"})
"""Files that every export holds, those of earlier versions included."""

PREVIOUS = "previous"
"""Name of the replaced export while the new one is moved, in the temporary directory."""


def export_model(
    directory: Path,
    network: Network,
    policy: ExitPolicy,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    samples: Tensor,
    facts: CardFacts,
) -> None:
    """Write the folder `directory` atomically; a previous export there is replaced.

    `samples`, uint8 `[n, c, h, w]`, are recorded with the network's outputs for them. Raises UserError for a directory
    that holds something else, cannot be written or has a path that isn't UTF-8, for imported (opaque) modules, for ops
    defined outside `aebnas/runtime` and for weights that are not finite; ValueError when the parts are not of one
    model.
    """
    opaque = [node.name for node in network.graph.nodes if node.op == OPAQUE]
    if opaque:
        raise UserError(f"node '{opaque[0]}': must not be an imported module, which cannot be exported")
    for op in ops_left_behind(node.op for node in network.graph.nodes):
        where = OPS[op].kind.__module__
        raise UserError(f"op '{op}' must be defined in aebnas/runtime to be exported, but got {where}")
    if preprocessing.shape != network.graph.input_shape or len(class_names) != network.graph.classes:
        want = f"{network.graph.input_shape} and {network.graph.classes}"
        got = f"{preprocessing.shape} and {len(class_names)}"
        raise ValueError(f"image shape and number of class names must be {want}, but got {got}")
    if not len(samples):
        raise ValueError("samples must hold at least one image to record, but got none")
    if preprocessing.shape[0] not in EXPORTED_CHANNELS:
        raise UserError(f"input.channels must be 1 or 3 for export, but got {preprocessing.shape[0]}")
    network = copy.deepcopy(network).to("cpu", torch.float32).eval()
    check_utf8(str(directory.resolve()), f"{directory}: the folder of an export")  # safetensors opens no other
    directory = directory.resolve()
    try:
        check_replaceable(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        hidden = f".{directory.name}.partial-"
        _clear_left_over(directory, hidden)
        with tempfile.TemporaryDirectory(prefix=hidden, dir=directory.parent) as staging:
            staged = Path(staging) / "export"
            _write_code(staged)
            _write_model(staged, network, policy, preprocessing, class_names)
            _write_record(staged / "check.npz", network, policy, preprocessing, samples.cpu())
            card = model_card(facts, network.graph, policy, preprocessing, class_names)
            write_text(staged / "README.md", card)
            write_json(staged / "card.json", facts.to_json())
            write_json(staged / "monitor.json", Expected(facts.exit_shares, facts.samples).to_json())
            _run_self_check(staged)
            _move_into_place(staged, directory, backup=Path(staging) / PREVIOUS)
    except OSError as error:
        raise UserError(f"{directory}: cannot be written: {error}") from None


def ops_left_behind(ops: Iterable[str]) -> list[str]:
    """Those whose code an export doesn't take along, sorted."""
    known = {op: OPS[op].kind.__module__ for op in set(ops) - {OPAQUE}}
    return sorted(op for op, module in known.items() if not module.startswith(f"{aebnas.runtime.__name__}."))


def _clear_left_over(directory: Path, hidden: str) -> None:
    """Clean up after a kill: a previous export that had been moved away is moved back, the rest is deleted."""
    for left in [path for path in directory.parent.iterdir() if path.name.startswith(hidden)]:
        if (left / PREVIOUS).exists() and not directory.exists():
            (left / PREVIOUS).rename(directory)
        shutil.rmtree(left, ignore_errors=True)


def check_replaceable(directory: Path) -> None:
    """Raise UserError unless the directory is empty or an export without other files, so that no other file is lost."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UserError(f"{directory}: must be a directory, but got a file")
    found = {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if not path.is_dir() and path.parent.name != "__pycache__"
    }
    foreign = {name for name in found - FILES if not RUNTIME_FILE.fullmatch(name)}
    if found and not (found >= REQUIRED_FILES and not foreign):
        difference = min(foreign, default=f"no {min(REQUIRED_FILES - found, default='')}")
        raise UserError(f"{directory}: must be new, empty or a previous export, but got a folder with {difference}")


def _write_code(folder: Path) -> None:
    assert model_source.__file__ and aebnas.runtime.__file__
    sources = {"model.py": Path(model_source.__file__)}
    runtime = Path(aebnas.runtime.__file__).parent
    sources |= {f"runtime/{name}.py": runtime / f"{name}.py" for name in RUNTIME}
    for name, source in sources.items():
        write_atomically(folder / name, partial(shutil.copyfile, source))


def _write_model(
    folder: Path,
    network: Network,
    policy: ExitPolicy,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
) -> None:
    weights = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if not torch.isfinite(tensor).all():
            raise UserError(f"weights '{name}' must be finite to be exported, but got NaN or infinity")
        # safetensors supports neither strided nor shared storage, and slices of a supernet are both
        weights[name] = tensor.contiguous().clone()
    # not `save_file`, which writes a file that only its owner can read
    content = save(weights, metadata={"format": "pt"})
    write_atomically(folder / "weights.safetensors", lambda path: path.write_bytes(content))
    write_json(folder / "graph.json", network.graph.to_json())
    write_json(folder / "policy.json", policy.to_json())
    write_json(folder / "preprocessing.json", preprocessing.to_json() | {"classes": list(class_names)})
    write_json(folder / "costs.json", dataclasses.asdict(ExportCosts.of(network.graph, policy)))


def _write_record(
    path: Path, network: Network, policy: ExitPolicy, preprocessing: Preprocessing, samples: Tensor
) -> None:
    alpha_n = None if policy.difficulty is None else policy.difficulty.alpha(samples)
    predicted = network.infer(normalise(samples, preprocessing), policy, alpha_n)
    record = partial(
        np.savez_compressed,
        images=samples.numpy(),
        logits=predicted.logits.numpy(),
        exit_index=predicted.exit_index.numpy(),
        labels=predicted.logits.argmax(-1).numpy(),
    )
    write_atomically(path, record)


def _run_self_check(folder: Path) -> None:
    """Run the folder's own check and remove the bytecode that this writes; raises RuntimeError where it fails."""
    problems = Model.load(folder).check().problems
    shutil.rmtree(folder / "runtime" / "__pycache__", ignore_errors=True)
    if problems:
        raise RuntimeError(f"the outputs of the exported network must equal those of the given one: {problems[0]}")


def _move_into_place(staged: Path, directory: Path, backup: Path) -> None:
    """Replace the directory by two renames; when the second fails, the first is undone."""
    if directory.exists():
        directory.rename(backup)
    try:
        staged.rename(directory)
    except OSError:
        if backup.exists():
            backup.rename(directory)
        raise
