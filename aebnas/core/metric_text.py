"""Values of metrics as text for output."""

from collections.abc import Mapping

from aebnas.core.metrics import METRICS


def millions(value: float) -> str:
    """A count in millions."""
    return f"{value / 1e6:.3g}M"


def with_unit(metric: str, value: float) -> str:
    """A metric's value with its unit; counts in millions have none."""
    unit = METRICS[metric].unit
    if unit == "fraction":
        return f"{100 * value:.2f}%"
    if unit == "bytes":
        return f"{value / 1e3:.1f} kB" if value < 1e6 else f"{value / 1e6:.2f} MB"
    if unit in ("ms", "mJ"):
        return f"{value:.4g} {unit}"
    return millions(value)


def total_pflop(phases: Mapping[str, float | None]) -> float | None:
    """The sum of the compute of phases; None where that of one isn't known, or there is none."""
    known = [pflop for pflop in phases.values() if pflop is not None]
    return sum(known) if known and len(known) == len(phases) else None


def pflop_text(phases: Mapping[str, float | None]) -> str:
    """The compute of each phase, and of all together."""
    parts = [f"{phase} {'unknown' if pflop is None else f'{pflop:.3g}'}" for phase, pflop in phases.items()]
    total = total_pflop(phases)
    return ", ".join(parts) + ("" if total is None or len(parts) < 2 else f"; {total:.3g} in all")
