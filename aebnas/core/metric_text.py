"""Values of metrics as text for output."""

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
