"""A device profile: what every layer of a space takes on one device in one setting, and what sums of layers miss.

    latency to an exit = sum over what ran of (scale * layer_ms + ms_per_node)
                         + ms_per_decision * exits that decided + ms_per_weight_mb * weights read + ms_per_run

The coefficients are fitted to whole networks measured in the same rounds as the layers, and none is negative:
`scale` is what caches and fusion make of a layer among others, the rest what starting things costs. In a setting with
batches all times are of whole batches, predictions of one sample's share.

Imports no torch.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from aebnas.cost.counts import ExitCosts, count_layer
from aebnas.cost.energy_model import HOROWITZ, ITEM_BYTES, EnergyModel
from aebnas.cost.population import LayerKey, Population, as_key, out_shape
from aebnas.errors import UserError
from aebnas.files import write_text
from aebnas.runtime.graph import Graph
from aebnas.space.layers import space_layers
from aebnas.space.spec import SpaceSpec

FORMAT = 1
MB = 1e6


class Timed(NamedTuple):
    """A layer's time: median over the rounds, half the spread between the quartiles, and whether it was only estimated
    from other layers."""

    ms: float
    spread_ms: float
    estimated: bool = False


class Overheads(NamedTuple):
    """What whole networks take beyond the sum of their layers; see the module's formula."""

    scale: float = 1.0
    ms_per_node: float = 0.0
    ms_per_decision: float = 0.0
    ms_per_weight_mb: float = 0.0
    ms_per_run: float = 0.0


@dataclass(frozen=True)
class DeviceProfile:
    """Layer times and overheads of one device in one setting (`setting` as in `stopwatch.Setting`).

    `fit` says how well the coefficients fit the whole networks; `pj_per_mac` and `pj_per_byte` are those of the energy
    model. `source` names the file in errors. Raises ValueError for figures that can't be.
    """

    setting: dict[str, Any]
    device: dict[str, Any]
    libraries: dict[str, str]
    date: str
    rounds: int
    layers: dict[LayerKey, Timed]
    overheads: Overheads
    fit: dict[str, float]
    pj_per_mac: float = HOROWITZ.pj_per_mac
    pj_per_byte: float = HOROWITZ.pj_per_byte
    source: str = "the profile"

    def __post_init__(self) -> None:
        for name in ("threads", "batch"):
            if not (isinstance(value := self.setting.get(name), int) and value >= 1):
                raise ValueError(f"setting.{name} must be a whole number of at least 1, but got {value!r}")
        if self.setting.get("dtype") not in ITEM_BYTES:
            raise ValueError(f"setting.dtype must be one of {', '.join(ITEM_BYTES)}, but got {self.setting['dtype']!r}")
        figures = [timed.ms for timed in self.layers.values()] + list(self.overheads)
        if not all(math.isfinite(figure) and figure >= 0 for figure in [*figures, self.pj_per_mac, self.pj_per_byte]):
            raise ValueError("times and energies must be finite and at least 0")

    @property
    def key(self) -> str:
        """What must be equal where figures of two profiles are put beside each other: device and setting."""
        return json.dumps([self.device, self.setting], sort_keys=True)

    @cached_property
    def digest(self) -> str:
        """Ten hexadecimal digits of the whole profile."""
        return hashlib.blake2b(json.dumps(self.to_json(), sort_keys=True).encode(), digest_size=5).hexdigest()

    @property
    def energy(self) -> EnergyModel:
        """Modelled energy in the setting's number format."""
        return EnergyModel(self.pj_per_mac, self.pj_per_byte, self.setting["dtype"])

    def layer_ms(self, key: LayerKey) -> float:
        """What a layer takes by itself; raises UserError for one that wasn't measured, since unknown is not zero."""
        if key not in self.layers:
            op, in_shapes, attrs = key
            raise UserError(
                f"{self.source}: must hold {op} {dict(attrs)} on {list(in_shapes)}, but was measured for "
                "another space; profile this one"
            )
        return self.layers[key].ms

    def cost_ms(self, key: LayerKey) -> float:
        """What a layer adds to a network's latency, per sample; raises UserError as `layer_ms`."""
        extra = self.overheads.ms_per_node + self.overheads.ms_per_weight_mb * weight_mb(key)
        return (self.overheads.scale * self.layer_ms(key) + extra) / self.setting["batch"]

    def each_run_and_exit_ms(self) -> tuple[float, float]:
        """What a sample pays whatever runs, and for each exit that decides."""
        batch = self.setting["batch"]
        return self.overheads.ms_per_run / batch, self.overheads.ms_per_decision / batch

    def latencies(self, graphs: Sequence[Graph]) -> list[ExitCosts]:
        """Predicted latency in ms to every exit, of a whole population at once."""
        population = Population.of(graphs)
        return population.costs([self.cost_ms(key) for key in population.layers], *self.each_run_and_exit_ms())

    def latency(self, graph: Graph) -> ExitCosts:
        """The same for one graph."""
        return self.latencies([graph])[0]

    def check_covers(self, spec: SpaceSpec) -> None:
        """Raise UserError where the profile lacks a layer of the space, so that no candidate can fail for it later."""
        for layer in sorted(space_layers(spec), key=repr):
            if (layer.op, (layer.in_shape,), layer.attrs) not in self.layers:
                shape = " x ".join(map(str, layer.in_shape))
                choices = " ".join(f"{name} {value}" for name, value in layer.attrs if not name.endswith("_channels"))
                raise UserError(
                    f"{self.source}: must hold {layer.place} ({choices}) on a map of {shape}, but was measured for "
                    "another space; profile this one: aebnas profile SPACE"
                )

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        layers = [
            {"op": op, "in_shapes": shapes, "attrs": dict(attrs), **timed._asdict()}
            for (op, shapes, attrs), timed in self.layers.items()
        ]
        return {
            "format": FORMAT,
            "setting": self.setting,
            "device": self.device,
            "libraries": self.libraries,
            "date": self.date,
            "rounds": self.rounds,
            "overheads": self.overheads._asdict(),
            "fit": self.fit,
            "energy_model": {"pj_per_mac": self.pj_per_mac, "pj_per_byte": self.pj_per_byte},
            "layers": layers,
        }

    def save(self, path: Path) -> None:
        """Write the profile, a line for every layer."""
        value = self.to_json()
        layers = ",\n    ".join(json.dumps(layer, allow_nan=False) for layer in value.pop("layers"))
        head = json.dumps(value, indent=2, allow_nan=False).removesuffix("\n}")
        write_text(path, f'{head},\n  "layers": [\n    {layers}\n  ]\n}}\n')

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str) -> "DeviceProfile":
        """Read what `to_json` made; raises KeyError, TypeError or ValueError when it isn't that."""
        layers = {
            as_key(layer): Timed(layer["ms"], layer["spread_ms"], layer["estimated"]) for layer in value["layers"]
        }
        return cls(
            **{name: value[name] for name in ("setting", "device", "libraries", "date", "rounds", "fit")},
            layers=layers,
            overheads=Overheads(**value["overheads"]),
            pj_per_mac=value["energy_model"]["pj_per_mac"],
            pj_per_byte=value["energy_model"]["pj_per_byte"],
            source=source,
        )


def weight_mb(key: LayerKey) -> float:
    """Megabytes of a layer's weights in fp32."""
    op, in_shapes, attrs = key
    return count_layer(op, in_shapes[0], out_shape(key), dict(attrs)).weight_bytes / MB
