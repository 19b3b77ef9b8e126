"""Device profiles that nobody measured: every layer of a space takes a time that its shapes give."""

import math
from pathlib import Path
from typing import Any

from aebnas.cost.latency.device_profile import DeviceProfile, LayerTime, Overheads
from aebnas.cost.latency.measured_device import DifficultyTime
from aebnas.cost.latency.space_layers import space_keys
from aebnas.cost.layer_population import out_shape
from aebnas.space.spec import SpaceSpec

SETTING = {"device": "cpu", "threads": 1, "batch": 1, "dtype": "fp32", "memory_format": "contiguous", "compiled": False}
OVERHEADS = Overheads(1.2, 0.01, 0.02, 0.5, 0.03)


def made_up(spec: SpaceSpec, **changes: Any) -> DeviceProfile:
    """The profile of a space on a device whose time depends on what a layer reads and writes, and on its op."""
    layers = {
        key: LayerTime(1e-4 * (math.prod(key[1][0]) + math.prod(out_shape(key))) * len(key[0]), 0.001)
        for key in sorted(space_keys(spec, stop_heads=True), key=repr)
    }
    about = {"setting": SETTING, "device": {"name": "chip"}, "libraries": {}, "date": "2026-01-01", "rounds": 3}
    about["difficulty"] = DifficultyTime(spec.input.shape, 0.25, 0.01)
    return DeviceProfile(**about | {"layers": layers, "overheads": OVERHEADS, "fit": {}} | changes)


def write_made_up(space: dict[str, Any], file: Path, **changes: Any) -> Path:
    """The same as a file, for a space as YAML holds it."""
    made_up(SpaceSpec.model_validate(space), **changes).save(file)
    return file
