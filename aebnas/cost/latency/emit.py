"""Writes a folder that measures a job on a device without aebnas: a script, the job, and the code or models it runs.

For PyTorch these are the modules of the networks; for ONNX Runtime a model of each layer, each network, and the
estimator of an image's difficulty. A network's model is truncated after the exit where samples leave, with all branches
before it, so no exit decides in it.
"""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import aebnas.runtime
from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.cost.latency import measure_here, rounds, stopwatch
from aebnas.cost.truncation import cut_off
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPS

RENAMED = {
    "from aebnas.cost.latency.stopwatch import": "from stopwatch import",
    "from aebnas.cost.latency.rounds import": "from rounds import",
    "from aebnas.runtime.": "from runtime.",
}
"""Imports in copied modules -> the same in the folder."""


def emit(job: dict[str, Any], folder: Path) -> None:
    """Write the folder for PyTorch; raises UserError for a folder that isn't empty."""
    _check_empty(folder)
    for name, module in (("measure.py", measure_here), ("stopwatch.py", stopwatch), ("rounds.py", rounds)):
        write_text(folder / name, _source(module))
    assert aebnas.runtime.__file__
    for source in sorted(Path(aebnas.runtime.__file__).parent.glob("*.py")):
        write_text(folder / "runtime" / source.name, source.read_text(encoding="utf-8"))
    write_json(folder / "job.json", job)


def emit_onnx(job: dict[str, Any], folder: Path) -> None:
    """Write the folder for ONNX Runtime.

    Raises UserError for a folder that isn't empty, and for a setting that isn't supported with ONNX Runtime.
    """
    _check_empty(folder)
    setting = stopwatch.MeasurementSetting(**job["setting"])
    supported = stopwatch.MeasurementSetting(threads=setting.threads, batch=setting.batch)
    if setting != supported:
        raise UserError(f"--onnx: the setting must be cpu, fp32, contiguous and not compiled, but got {setting.key}")
    here = Path(__file__).with_name("measure_onnx_here.py")
    write_text(folder / "measure.py", _renamed(here.read_text(encoding="utf-8")))
    write_text(folder / "rounds.py", _source(rounds))
    (folder / "models").mkdir(parents=True)
    draw = partial(torch.randn, setting.batch)
    subjects = [partial(_layer, layer, draw) for layer in job["layers"]]
    subjects += [partial(_cut_network, subject, draw) for subject in job["networks"]]
    if job["image"] is not None:
        subjects.append(partial(_estimator, job["image"], setting.batch))
    _save_onnx(torch.nn.Conv2d(32, 32, 3), [draw(32, 16, 16)], folder / "models" / "reference.onnx")
    with progress_bar("write models", len(subjects)) as bar:
        for number, make in enumerate(subjects):
            _save_onnx(*make(), folder / "models" / f"{number:05d}.onnx")
            bar.advance()
    write_json(folder / "job.json", job)


class _LastExit(torch.nn.Module):
    """Returns the outputs of all exits as a tuple, so that all of them run."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_nchw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network(x_nchw))


class _Estimator(torch.nn.Module):
    """An image's difficulty; its constants have no effect on its time."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return Difficulty(0.1, (1.0, 1.0, 1.0)).alpha(pixels)


Draw = Callable[..., torch.Tensor]


def _layer(layer: dict[str, Any], draw: Draw) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    return OPS[layer["op"]].build(**layer["attrs"]), [draw(*shape) for shape in layer["in_shapes"]]


def _cut_network(subject: dict[str, Any], draw: Draw) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    graph = cut_off(Graph.from_json(subject["graph"]), subject["leave"])
    return _LastExit(Network(graph)), [draw(*graph.input_shape)]


def _estimator(image: list[int], batch: int) -> tuple[torch.nn.Module, list[torch.Tensor]]:
    return _Estimator(), [torch.randint(0, 256, (batch, *image), dtype=torch.uint8)]


def _save_onnx(module: torch.nn.Module, inputs: list[torch.Tensor], path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the older exporter is used, since it takes only a fifth of a second
        torch.onnx.export(module.eval(), tuple(inputs), str(path), dynamo=False)


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: must be new or an empty folder, but it holds files")


def _source(module: ModuleType) -> str:
    assert module.__file__
    return _renamed(Path(module.__file__).read_text(encoding="utf-8"))


def _renamed(source: str) -> str:
    for ours, theirs in RENAMED.items():
        source = source.replace(ours, theirs)
    return source
