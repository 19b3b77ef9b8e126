"""Energy per inference: read from the device where it says, else modelled; every figure says which.

Three sources. `nvml`: NVIDIA's counter, of the whole GPU. `rapl`: the processor packages' counters, which Linux shows
under powercap (often to root alone). `model`: joules per MAC and per byte moved, by default those of Horowitz,
"Computing's energy problem" (ISSCC 2014), for 45 nm and 32-bit floats: 4.6 pJ per multiply-add, 5 pJ per byte out of
a cache; newer chips need less of both, so it ranks rather than predicts. A reader's figure includes what the idle
device draws meanwhile.

Legend: e exits. Units: mJ per sample, pJ in the model.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple, Protocol

from aebnas.cost.counts import ExitCosts, count_layer
from aebnas.errors import UserError
from aebnas.runtime.graph import Graph, Node

Source = Literal["nvml", "rapl", "model"]
POWERCAP = Path("/sys/class/powercap")
ITEM_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
WEIGHT_BYTES = 4
MJ_PER_PJ = 1e-9
MIN_SECONDS = 1.0
"""Counters move in steps of milliseconds; a measurement goes on for at least this long."""


class Energy(NamedTuple):
    """Millijoules, and where they come from."""

    mj: float
    source: Source


class Reader(Protocol):
    """A counter that only grows."""

    source: Source

    def read_mj(self) -> float:
        """Millijoules since some moment."""
        ...


class Rapl:
    """The sum over all processor packages' counters in a powercap tree; raises UserError where none is readable."""

    source: Source = "rapl"

    def __init__(self, root: Path = POWERCAP) -> None:
        # intel-rapl:0 is a package, intel-rapl:0:0 a part of it; AMD's counters go by the same names
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        self._zones = [zone for zone in zones if _readable(zone / "energy_uj")]
        if not self._zones:
            raise UserError(f"{root}: must hold a readable intel-rapl:*/energy_uj, but got none")
        self._range_uj = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
        self._last_uj = [self._now_uj(zone) for zone in self._zones]
        self._sum_uj = 0

    def read_mj(self) -> float:
        """Since the reader was made; a counter that ran over in between is seen to once."""
        for index, zone in enumerate(self._zones):
            now = self._now_uj(zone)
            step = now - self._last_uj[index]
            self._sum_uj += step if step >= 0 else step + self._range_uj[index]
            self._last_uj[index] = now
        return self._sum_uj / 1e3

    @staticmethod
    def _now_uj(zone: Path) -> int:
        return int((zone / "energy_uj").read_text())


class Nvml:
    """The energy counter of one GPU, from `pynvml` (package nvidia-ml-py) or a module like it.

    Raises UserError where the library, the GPU or its counter isn't there.
    """

    source: Source = "nvml"

    def __init__(self, index: int = 0, nvml: ModuleType | None = None) -> None:
        try:
            self._nvml = nvml or importlib.import_module("pynvml")
        except ImportError:
            raise UserError("energy by NVML needs the package nvidia-ml-py, which isn't installed") from None
        try:
            self._nvml.nvmlInit()
            self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self.read_mj()
        except self._nvml.NVMLError as error:
            raise UserError(f"energy of GPU {index} can't be read by NVML: {error}") from None

    def read_mj(self) -> float:
        """Since the driver was loaded."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu))


def find_reader(device: str, root: Path = POWERCAP, nvml: ModuleType | None = None) -> Reader | None:
    """The counter of a device (`cpu`, `cuda`), None where there is none to read."""
    try:
        return Nvml(nvml=nvml) if device == "cuda" else Rapl(root)
    except UserError:
        return None


def measure_energy(
    call: Callable[[], object],
    reader: Reader,
    samples: int = 1,
    min_seconds: float = MIN_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Energy:
    """Energy per sample of a call that deals with so many; on a GPU the call must wait for its result."""
    call()
    calls, before, started = 0, reader.read_mj(), clock()
    while calls == 0 or clock() - started < min_seconds:
        call()
        calls += 1
    return Energy((reader.read_mj() - before) / calls / samples, reader.source)


@dataclass(frozen=True)
class EnergyModel:
    """Picojoules per MAC and per byte of weights and activations moved, in a number format (`fp32`)."""

    pj_per_mac: float = 4.6
    pj_per_byte: float = 5.0
    dtype: str = "fp32"
    source: Source = "model"

    def energy(self, graph: Graph) -> ExitCosts:
        """Modelled mJ of one sample to every exit."""
        backbone, branch, so_far = [], [], 0.0
        for segment in graph.segments():
            so_far += sum(self._node_mj(graph, node) for node in segment.backbone)
            backbone.append(so_far)
            branch.append(sum(self._node_mj(graph, node) for node in segment.branch))
        return ExitCosts(tuple(backbone), tuple(branch))

    def energies(self, graphs: Sequence[Graph]) -> list[ExitCosts]:
        """The same for a whole population."""
        return [self.energy(graph) for graph in graphs]

    def _node_mj(self, graph: Graph, node: Node) -> float:
        macs, moved = node_work(graph, node, self.dtype)
        return (self.pj_per_mac * macs + self.pj_per_byte * moved) * MJ_PER_PJ


def node_work(graph: Graph, node: Node, dtype: str = "fp32") -> tuple[int, int]:
    """(MACs, bytes moved) of a node: its inputs, its weights and its output once each."""
    out = graph.shapes[node.name]
    counts = count_layer(node.op, graph.shapes[node.inputs[0]], out, node.kwargs)
    shapes = [*(graph.shapes[name] for name in node.inputs), out]
    items = sum(channels * height * width for channels, height, width in shapes)
    weights = counts.weight_bytes // WEIGHT_BYTES
    return counts.macs, (items + weights) * ITEM_BYTES[dtype]


def _readable(path: Path) -> bool:
    try:
        path.read_text()
    except OSError:
        return False
    return True
