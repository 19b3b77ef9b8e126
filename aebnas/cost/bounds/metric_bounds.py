"""Bounds of a metric over all architectures of a space. Imports no torch."""

from aebnas.core.metrics import ENERGY, LATENCY, MACS, METRICS
from aebnas.cost.bounds.space_bounds import Bounds, Measure, energy_bounds, latency_bounds, space_bounds
from aebnas.cost.latency.network_profile import Profile
from aebnas.space.spec import SpaceSpec

MEASURES: dict[str, Measure] = {
    MACS: lambda counts: counts.macs,
    "params": lambda counts: counts.params,
    "weight_bytes": lambda counts: counts.weight_bytes,
}


def metric_bounds(spec: SpaceSpec, metric: str, profile: Profile | None, stop_heads: bool) -> Bounds | None:
    """Bounds of a metric, or of the cost it is a statistic of; None where they aren't known without building networks.

    `stop_heads`: every early exit has one.
    """
    name = METRICS[metric].cost or metric
    if name in MEASURES:
        return space_bounds(spec, MEASURES[name], stop_heads)
    if profile is None:
        return None
    if name == LATENCY:
        latency = profile.additive_latency
        return None if latency is None else latency_bounds(spec, latency, stop_heads)
    return energy_bounds(spec, profile.energy, stop_heads) if name == ENERGY else None
