"""Energy per inference: read from the device where it has a counter, else modelled; every value states its source.

Three sources. `nvml`: NVIDIA's counter, of the whole GPU. `rapl`: the processor packages' counters, which Linux exposes
under powercap (often to root only). `model`: see `energy_model`. A reader's value includes the idle energy of the
device.

Units: mJ per sample.
"""

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

from aebnas.core.errors import UserError
from aebnas.cost.energy_model import Source

POWERCAP = Path("/sys/class/powercap")
MIN_SECONDS = 1.0
"""Minimum duration of a measurement, since counters are updated only every few milliseconds."""


class Energy(NamedTuple):
    """Millijoules, and their source."""

    mj: float
    source: Source


class Reader(Protocol):
    """A counter of energy that never decreases."""

    source: Source

    def read_mj(self) -> float:
        """Millijoules since an arbitrary time."""
        ...


class Rapl:
    """The sum over all processor packages' counters in a powercap tree; raises UserError where none is readable."""

    source: Source = "rapl"

    def __init__(self, root: Path = POWERCAP) -> None:
        # intel-rapl:0 is a package, intel-rapl:0:0 a part of it; AMD's counters have the same names
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        self._zones = [zone for zone in zones if _readable(zone / "energy_uj")]
        if not self._zones:
            raise UserError(f"{root}: must hold a readable intel-rapl:*/energy_uj, but got none")
        self._range_uj = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
        self._last_uj = [self._now_uj(zone) for zone in self._zones]
        self._sum_uj = 0

    def read_mj(self) -> float:
        """Millijoules since the reader was made; one overflow of a counter between two calls is corrected."""
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

    Raises UserError where the library, the GPU or its counter isn't available.
    """

    source: Source = "nvml"

    def __init__(self, index: int = 0, nvml: ModuleType | None = None) -> None:
        try:
            self._nvml = nvml or importlib.import_module("pynvml")
        except ImportError:
            raise UserError("the package nvidia-ml-py must be installed to measure energy by NVML, but isn't") from None
        try:
            self._nvml.nvmlInit()
            self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self.read_mj()
        except self._nvml.NVMLError as error:
            raise UserError(f"energy of GPU {index} can't be read by NVML: {error}") from None

    def read_mj(self) -> float:
        """Millijoules since the driver was loaded."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu))


def find_reader(device: str, root: Path = POWERCAP, nvml: ModuleType | None = None) -> Reader | None:
    """The counter of a device (`cpu`, `cuda`), None where none is readable."""
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
    """Energy per sample of a call that processes `samples` samples; on a GPU the call must wait for its result."""
    call()
    calls, before, started = 0, reader.read_mj(), clock()
    while calls == 0 or clock() - started < min_seconds:
        call()
        calls += 1
    return Energy((reader.read_mj() - before) / calls / samples, reader.source)


def _readable(path: Path) -> bool:
    try:
        path.read_text()
    except OSError:
        return False
    return True
