"""A profile of a device with whole-network latencies only: pairs of (network, latency).

The latency of other networks is learned from them (`latency_model`). Imports no torch.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from aebnas.core.atomic_files import write_text
from aebnas.core.errors import UserError
from aebnas.core.spec_base import short
from aebnas.cost.latency.device_profile import FORMAT, DeviceProfile
from aebnas.cost.latency.measured_device import MeasuredDevice, difficulty_time
from aebnas.cost.latency.space_layers import space_keys
from aebnas.runtime.graph import Graph
from aebnas.space.architecture import Architecture
from aebnas.space.layers import space_layers
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec

MIN_PAIRS = 10


class NetworkLatency(NamedTuple):
    """A network's latency in ms for a sample that leaves at an exit (from 0), all branches before it run."""

    graph: Graph
    leave: int
    ms: float


@dataclass(frozen=True, kw_only=True)
class PairsProfile(MeasuredDevice):
    """Pairs of (network, latency) of one device in one setting.

    `helpers` are profiles of other devices whose predictions are features. Raises ValueError for too few
    pairs, or impossible latencies or exits.
    """

    kind: ClassVar[str] = "learned"
    """The value of `kind` in its files."""

    pairs: tuple[NetworkLatency, ...]
    helpers: tuple["Profile", ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.pairs) < MIN_PAIRS:
            raise ValueError(f"a profile must have at least {MIN_PAIRS} pairs, but got {len(self.pairs)}")
        for pair in self.pairs:
            if not (math.isfinite(pair.ms) and pair.ms > 0):
                raise ValueError(f"latencies must be finite and above 0, but got {pair.ms}")
            if not 0 <= pair.leave < len(pair.graph.exits):
                raise ValueError(f"exits must be from 1 to {len(pair.graph.exits)}, but got {pair.leave + 1}")

    @property
    def additive_latency(self) -> None:
        """None, since only latencies of whole networks are known."""
        return None

    def check_covers(self, spec: SpaceSpec, stop_heads: bool = False) -> None:
        """Raise UserError where the space has an op that no measured network contains."""
        seen = {node.op for pair in self.pairs for node in pair.graph.nodes}
        for layer in sorted(space_layers(spec, stop_heads), key=repr):
            if layer.op not in seen:
                raise UserError(
                    f"{self.source}: must hold a network with {layer.place}, but none of its {len(self.pairs)} pairs "
                    f"has an op {layer.op}"
                )
        for op in sorted({op for op, _, _ in space_keys(spec, stop_heads)} - seen):
            raise UserError(f"{self.source}: must hold a network with {op}, but none of its {len(self.pairs)} does")

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        about = ("setting", "device", "libraries", "date", "rounds")
        return {
            "format": FORMAT,
            "kind": self.kind,
            **{name: getattr(self, name) for name in about},
            "energy_model": {"pj_per_mac": self.pj_per_mac, "pj_per_byte": self.pj_per_byte},
            **self.difficulty_json(),
            "helpers": [helper.to_json() for helper in self.helpers],
            "pairs": [{"graph": graph.to_json(), "leave": leave, "ms": ms} for graph, leave, ms in self.pairs],
        }

    def save(self, path: Path) -> None:
        """Write the profile as JSON with one line per pair."""
        value = self.to_json()
        pairs = ",\n    ".join(json.dumps(pair, allow_nan=False) for pair in value.pop("pairs"))
        head = json.dumps(value, allow_nan=False).removesuffix("}")
        write_text(path, f'{head},\n  "pairs": [\n    {pairs}\n  ]\n}}\n')

    @classmethod
    def from_json(cls, value: dict[str, Any], source: str) -> "PairsProfile":
        """Read what `to_json` returned; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            **{name: value[name] for name in ("setting", "device", "libraries", "date", "rounds")},
            pairs=tuple(NetworkLatency(Graph.from_json(p["graph"]), p["leave"], p["ms"]) for p in value["pairs"]),
            helpers=tuple(profile_from_json(helper, source) for helper in value["helpers"]),
            difficulty=difficulty_time(value.get("difficulty")),
            pj_per_mac=value["energy_model"]["pj_per_mac"],
            pj_per_byte=value["energy_model"]["pj_per_byte"],
            source=source,
        )


Profile = DeviceProfile | PairsProfile
"""A device profile of either kind."""
KINDS: dict[str, type[DeviceProfile] | type[PairsProfile]] = {kind.kind: kind for kind in (DeviceProfile, PairsProfile)}


def load_profile(path: Path) -> Profile:
    """Read a device profile of either kind from its file; raises UserError for any other file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise UserError(f"{path}: format must be {FORMAT}, but got {value['format']}; profile the space again")
        return profile_from_json(value, str(path))
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: must be a device profile, but got another file ({error!r})") from None


def profile_from_json(value: dict[str, Any], source: str) -> Profile:
    """Read a profile of either kind; raises KeyError, TypeError or ValueError for anything else."""
    return KINDS[value.get("kind", DeviceProfile.kind)].from_json(value, source)


def name_first(key: str) -> tuple[bool, str]:
    """Sort key of reported differences: a device's name is more informative than its number of cores."""
    return key not in ("name", "runtime"), key


def check_same(profiles: Sequence[Profile]) -> None:
    """Raise UserError unless all profiles are of one device in one setting."""
    for other in profiles[1:]:
        for what in ("device", "setting"):
            old, new = getattr(profiles[0], what), getattr(other, what)
            differing = sorted(
                (name for name in old.keys() | new.keys() if old.get(name) != new.get(name)), key=name_first
            )
            if differing:
                name = differing[0]
                raise UserError(
                    f"{other.source}: {what}.{name} must be {old.get(name)!r} as in {profiles[0].source}, "
                    f"but got {new.get(name)!r}; profiles of two settings cannot be combined"
                )


def read_pairs(path: Path) -> tuple[NetworkLatency, ...]:
    """Pairs from JSON lines: `architecture` (as in trials), `latency_ms` and, if not the last, the `exit` from 1.

    Raises UserError that names the first malformed line.
    """
    pairs = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            value = json.loads(line)
            graph = lower(Architecture.from_json(value["architecture"]))
            leave, ms = value.get("exit", len(graph.exits)), value["latency_ms"]
            if not isinstance(ms, int | float) or isinstance(ms, bool) or not (math.isfinite(ms) and ms > 0):
                raise ValueError(f"latency_ms must be a number above 0, but got {short(ms)}")
            if not isinstance(leave, int) or not 1 <= leave <= len(graph.exits):
                raise ValueError(f"exit must be a whole number from 1 to {len(graph.exits)}, but got {short(leave)}")
        except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
            raise UserError(f"{path}: line {number}: must hold an architecture and its latency_ms; {reason}") from None
        pairs.append(NetworkLatency(graph, leave - 1, float(ms)))
    if len(pairs) < MIN_PAIRS:
        raise UserError(f"{path}: must hold at least {MIN_PAIRS} pairs, but got {len(pairs)}")
    return tuple(pairs)


def write_architectures(path: Path, architectures: Sequence[tuple[Architecture, int]]) -> None:
    """Write the lines of `read_pairs` with `latency_ms` null, for the user to fill in."""
    lines = [
        json.dumps({"architecture": a.to_json(), "exit": leave + 1, "latency_ms": None}) for a, leave in architectures
    ]
    write_text(path, "\n".join(lines) + "\n")


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{path}: must be text in UTF-8, but isn't") from None
