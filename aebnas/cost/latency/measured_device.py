"""The base of every kind of device profile: the device, its setting, and what can be predicted.

Imports no torch.
"""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from aebnas.core.earlier_names import with_present_names
from aebnas.core.errors import UserError
from aebnas.cost.energy_model import HOROWITZ, ITEM_BYTES, EnergyModel
from aebnas.cost.layer_population import LayerCost
from aebnas.runtime.shape_rules import Shape, shape_text
from aebnas.space.spec import SpaceSpec


class DifficultyTime(NamedTuple):
    """The time of estimating the difficulty of a batch of images `(c, h, w)`: median over the rounds, and half the
    interquartile range."""

    image: Shape
    ms: float
    spread_ms: float


class AdditiveLatency(NamedTuple):
    """Latency in ms per sample as the sum of its layers' times, `each_run_ms` once, and `each_exit_ms` for each exit
    that decides."""

    layer_ms: LayerCost
    each_run_ms: float
    each_exit_ms: float


@dataclass(frozen=True, kw_only=True)
class MeasuredDevice(ABC):
    """A device in one setting (`setting` as in `MeasurementSetting`), and when and how often it was measured.

    `difficulty` is the time of estimating an image's difficulty; None where that wasn't measured. `pj_per_mac` and
    `pj_per_byte` are those of the energy model. `source` names the file in errors. Raises ValueError for an impossible
    setting or impossible energies.
    """

    setting: dict[str, Any]
    device: dict[str, Any]
    libraries: dict[str, str]
    date: str
    rounds: int
    difficulty: DifficultyTime | None = None
    pj_per_mac: float = HOROWITZ.pj_per_mac
    pj_per_byte: float = HOROWITZ.pj_per_byte
    source: str = "the profile"

    def __post_init__(self) -> None:
        for name in ("threads", "batch"):
            if not (isinstance(value := self.setting.get(name), int) and value >= 1):
                raise ValueError(f"setting.{name} must be a whole number of at least 1, but got {value!r}")
        if (dtype := self.setting.get("dtype")) not in ITEM_BYTES:
            raise ValueError(f"setting.dtype must be one of {', '.join(ITEM_BYTES)}, but got {dtype!r}")
        if not all(math.isfinite(figure) and figure >= 0 for figure in (self.pj_per_mac, self.pj_per_byte)):
            raise ValueError("energies must be finite and at least 0")
        if self.difficulty is not None and not (math.isfinite(self.difficulty.ms) and self.difficulty.ms >= 0):
            raise ValueError("times must be finite and at least 0")

    @property
    def key(self) -> str:
        """Device and setting, which must be equal where two profiles are compared."""
        return json.dumps([self.device, self.setting], sort_keys=True)

    @cached_property
    def digest(self) -> str:
        """Ten hexadecimal digits of the whole profile."""
        return hashlib.blake2b(json.dumps(self.to_json(), sort_keys=True).encode(), digest_size=5).hexdigest()

    def difficulty_ms(self, image: Shape) -> float:
        """Latency per sample of estimating the difficulty of an `image` (c, h, w).

        Raises UserError where that wasn't measured for such images, since an unknown time isn't zero.
        """
        if self.difficulty is None or self.difficulty.image != image:
            shape, so = shape_text(image), "was made without it"
            if self.difficulty is not None:
                so = f"was measured for images of {' x '.join(map(str, self.difficulty.image))}"
            raise UserError(
                f"{self.source}: must hold the time of estimating the difficulty of an image of {shape}, which the "
                f"policy uses, but {so}; profile the space again: aebnas profile SPACE"
            )
        return self.difficulty.ms / self.setting["batch"]

    def difficulty_json(self) -> dict[str, Any]:
        """The entry of `difficulty` in `to_json`; empty where it wasn't measured."""
        return {} if self.difficulty is None else {"difficulty": self.difficulty._asdict()}

    @property
    def energy(self) -> EnergyModel:
        """Modelled energy in the setting's number format."""
        return EnergyModel(self.pj_per_mac, self.pj_per_byte, self.setting["dtype"])

    @property
    @abstractmethod
    def additive_latency(self) -> AdditiveLatency | None:
        """The device's latency as a sum over layers; None where only latencies of whole networks are known."""

    @abstractmethod
    def check_covers(self, spec: SpaceSpec, stop_heads: bool = False) -> None:
        """Raise UserError where a network of the space could have an unknown latency.

        `stop_heads`: every early exit of the space's networks will have one.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""


def difficulty_time(value: dict[str, Any] | None) -> DifficultyTime | None:
    """Read `difficulty` of a profile's JSON; raises KeyError, TypeError or ValueError for anything else."""
    if value is None:
        return None
    channels, height, width = with_present_names(value, {"picture": "image"})["image"]
    return DifficultyTime((channels, height, width), float(value["ms"]), float(value["spread_ms"]))
