"""A folder that measures a job on a device without aebnas: a script, the job, and what it runs.

For PyTorch that is the code of the networks; for ONNX Runtime a model for each layer and each network. A network's
model is cut off behind the exit where it is left, all branches before it included, so no exit decides in it.
"""

import warnings
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import aebnas.runtime
from aebnas.cost import measure_here, rounds, stopwatch
from aebnas.cost.cutting import cut_off
from aebnas.errors import UserError
from aebnas.files import write_json, write_text
from aebnas.progress import progress_bar
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPS

RENAMED = {
    "from aebnas.cost.stopwatch import": "from stopwatch import",
    "from aebnas.cost.rounds import": "from rounds import",
    "from aebnas.runtime.": "from runtime.",
}
"""What the folder's own modules are called there."""


def emit(job: dict[str, Any], folder: Path) -> None:
    """Write the folder for PyTorch; raises UserError where it holds something already."""
    _check_empty(folder)
    for name, module in (("measure.py", measure_here), ("stopwatch.py", stopwatch), ("rounds.py", rounds)):
        write_text(folder / name, _source(module))
    assert aebnas.runtime.__file__
    for source in sorted(Path(aebnas.runtime.__file__).parent.glob("*.py")):
        write_text(folder / "runtime" / source.name, source.read_text(encoding="utf-8"))
    write_json(folder / "job.json", job)


def emit_onnx(job: dict[str, Any], folder: Path) -> None:
    """Write the folder for ONNX Runtime.

    Raises UserError where it holds something already, and for a setting that ONNX Runtime isn't measured in.
    """
    _check_empty(folder)
    setting = stopwatch.Setting(**job["setting"])
    usual = stopwatch.Setting(threads=setting.threads, batch=setting.batch)
    if setting != usual:
        raise UserError(f"--onnx: the setting must be cpu, fp32, contiguous and not compiled, but got {setting.key}")
    here = Path(__file__).with_name("measure_onnx_here.py")
    write_text(folder / "measure.py", _renamed(here.read_text(encoding="utf-8")))
    write_text(folder / "rounds.py", _source(rounds))
    (folder / "models").mkdir(parents=True)
    subjects = [partial(_layer, layer) for layer in job["layers"]]
    subjects += [partial(_cut_network, subject) for subject in job["networks"]]
    _save_onnx(torch.nn.Conv2d(32, 32, 3), [(32, 16, 16)], setting.batch, folder / "models" / "yardstick.onnx")
    with progress_bar("write models", len(subjects)) as bar:
        for number, make in enumerate(subjects):
            _save_onnx(*make(), setting.batch, folder / "models" / f"{number:05d}.onnx")
            bar.advance()
    write_json(folder / "job.json", job)


class _LastExit(torch.nn.Module):
    """A network's exits as a tuple, so that all of them run."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_nchw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network(x_nchw))


def _layer(layer: dict[str, Any]) -> tuple[torch.nn.Module, list[Any]]:
    return OPS[layer["op"]].build(**layer["attrs"]), layer["in_shapes"]


def _cut_network(subject: dict[str, Any]) -> tuple[torch.nn.Module, list[Any]]:
    graph = cut_off(Graph.from_json(subject["graph"]), subject["leave"])
    return _LastExit(Network(graph)), [graph.input_shape]


def _save_onnx(module: torch.nn.Module, shapes: list[Any], batch: int, path: Path) -> None:
    inputs = tuple(torch.randn(batch, *shape) for shape in shapes)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter that takes a fifth of a second is the older one
        torch.onnx.export(module.eval(), inputs, str(path), dynamo=False)


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: must be new or an empty folder, but something is there")


def _source(module: ModuleType) -> str:
    assert module.__file__
    return _renamed(Path(module.__file__).read_text(encoding="utf-8"))


def _renamed(source: str) -> str:
    for ours, theirs in RENAMED.items():
        source = source.replace(ours, theirs)
    return source
