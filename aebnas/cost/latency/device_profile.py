"""A device profile: the time of every layer of a space on one device in one setting, and fitted overheads.

    latency to an exit = sum over what ran of (scale * layer_ms + ms_per_node)
                         + ms_per_decision * exits that decided + ms_per_weight_mb * weights read + ms_per_run

The coefficients are fitted to whole networks measured in the same rounds as the layers, and none is negative:
`scale` accounts for the effect of caches and fusion on a layer among others, the rest for fixed costs of nodes,
decisions, weights and runs. For batches above 1 all times are of whole batches, predictions per sample.

Imports no torch.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from aebnas.core.atomic_files import write_text
from aebnas.core.errors import UserError
from aebnas.cost.exit_costs import ExitCosts
from aebnas.cost.latency.measured_device import AdditiveLatency, MeasuredDevice, difficulty_time
from aebnas.cost.latency.space_layers import space_keys
from aebnas.cost.layer_population import Population, as_key, count_key, max_candidate_cost
from aebnas.runtime.graph import Graph
from aebnas.runtime.op import LayerKey
from aebnas.runtime.shape_rules import shape_text
from aebnas.space.layers import space_layers
from aebnas.space.spec import SpaceSpec

FORMAT = 1
MB = 1e6


class LayerTime(NamedTuple):
    """A layer's time: median over the rounds, half the spread between the quartiles, and whether it was only estimated
    from other layers."""

    ms: float
    spread_ms: float
    estimated: bool = False


class Overheads(NamedTuple):
    """Coefficients of a whole network's latency beyond the sum of its layers; see the module's formula."""

    scale: float = 1.0
    ms_per_node: float = 0.0
    ms_per_decision: float = 0.0
    ms_per_weight_mb: float = 0.0
    ms_per_run: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DeviceProfile(MeasuredDevice):
    """Layer times and overheads of one device in one setting.

    `fit` states how well the coefficients fit the whole networks. Raises ValueError for negative or infinite times.
    """

    kind: ClassVar[str] = "layers"
    """The value of `kind` in its files; files of format 1 without `kind` are of this kind."""

    layers: dict[LayerKey, LayerTime]
    overheads: Overheads
    fit: dict[str, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        figures = [timed.ms for timed in self.layers.values()] + list(self.overheads)
        if not all(math.isfinite(figure) and figure >= 0 for figure in figures):
            raise ValueError("times must be finite and at least 0")

    def layer_ms(self, key: LayerKey) -> float:
        """Time of a single layer; raises UserError for one that wasn't measured, since an unknown time isn't zero."""
        if key not in self.layers:
            op, in_shapes, attrs = key
            raise UserError(
                f"{self.source}: must hold {op} {dict(attrs)} on {list(in_shapes)}, but was measured for "
                "another space; profile this one"
            )
        return self.layers[key].ms

    def cost_ms(self, key: LayerKey) -> float:
        """A layer's contribution to a network's latency, per sample; raises UserError as `layer_ms`."""
        extra = self.overheads.ms_per_node + self.overheads.ms_per_weight_mb * weight_mb(key)
        return (self.overheads.scale * self.layer_ms(key) + extra) / self.setting["batch"]

    @property
    def additive_latency(self) -> AdditiveLatency:
        """The module's formula, per sample."""
        batch = self.setting["batch"]
        return AdditiveLatency(self.cost_ms, self.overheads.ms_per_run / batch, self.overheads.ms_per_decision / batch)

    def latencies(self, graphs: Sequence[Graph]) -> list[ExitCosts]:
        """Predicted latency in ms to every exit, for a whole population at once."""
        population, (layer_ms, *once_ms) = Population.of(graphs), self.additive_latency
        return population.costs([max_candidate_cost(key, layer_ms) for key in population.layers], *once_ms)

    def expected_range(self, graph: Graph) -> str:
        """The expected range of measurements, as text; "" since layer times give no such range."""
        return ""

    def description(self) -> tuple[str, list[str]]:
        """The source of the profile, and its contents in a few lines for output."""
        timed = list(self.layers.values())
        estimated = sum(layer.estimated for layer in timed)
        spread = float(np.median([layer.spread_ms / layer.ms for layer in timed]))
        parts = ", ".join(f"{name} {value:.4g}" for name, value in self.overheads._asdict().items())
        networks = f"networks    {self.fit['networks']:.0f}"
        if "left_out_mape_percent" in self.fit:
            networks += f"; mean error on those left out of the fit {self.fit['left_out_mape_percent']:.1f} %"
        else:
            networks += ", too few to fit overheads: plain sums of layers"
        return f"median of {self.rounds} rounds", [
            f"layers      {len(timed):,} ({estimated:,} estimated), half the interquartile range {100 * spread:.1f} %",
            f"overheads   {parts}",
            networks,
        ]

    def latency(self, graph: Graph) -> ExitCosts:
        """Predicted latency in ms to every exit of one graph."""
        return self.latencies([graph])[0]

    def check_covers(self, spec: SpaceSpec, stop_heads: bool = False) -> None:
        """Raise UserError where the profile lacks a layer of the space, so that no candidate fails for it later.

        `stop_heads`: every early exit of the space's networks will have one.
        """
        for layer in sorted(space_layers(spec, stop_heads), key=repr):
            if layer.key not in self.layers:
                shape = shape_text(layer.in_shape)
                choices = " ".join(f"{name} {value}" for name, value in layer.attrs if not name.endswith("_channels"))
                raise UserError(
                    f"{self.source}: must hold {layer.place} ({choices}) on a map of {shape}, but was measured for "
                    "another space; profile this one: aebnas profile SPACE"
                )
        if missing := sorted(space_keys(spec, stop_heads) - self.layers.keys(), key=repr):
            op, in_shapes, _ = missing[0]
            raise UserError(
                f"{self.source}: must hold {op} of {len(in_shapes)} maps, but was measured for another space; profile "
                "this one: aebnas profile SPACE"
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
            **self.difficulty_json(),
            "layers": layers,
        }

    def save(self, path: Path) -> None:
        """Write the profile as JSON with one line per layer."""
        value = self.to_json()
        layers = ",\n    ".join(json.dumps(layer, allow_nan=False) for layer in value.pop("layers"))
        head = json.dumps(value, indent=2, allow_nan=False).removesuffix("\n}")
        write_text(path, f'{head},\n  "layers": [\n    {layers}\n  ]\n}}\n')

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str) -> "DeviceProfile":
        """Read what `to_json` returned; raises KeyError, TypeError or ValueError for anything else."""
        layers = {
            as_key(layer): LayerTime(layer["ms"], layer["spread_ms"], layer["estimated"]) for layer in value["layers"]
        }
        return cls(
            **{name: value[name] for name in ("setting", "device", "libraries", "date", "rounds", "fit")},
            layers=layers,
            overheads=Overheads(**value["overheads"]),
            difficulty=difficulty_time(value.get("difficulty")),
            pj_per_mac=value["energy_model"]["pj_per_mac"],
            pj_per_byte=value["energy_model"]["pj_per_byte"],
            source=source,
        )


def weight_mb(key: LayerKey) -> float:
    """Megabytes of a layer's weights in fp32."""
    return count_key(key).weight_bytes / MB
