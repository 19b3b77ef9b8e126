"""Facts on the device that latencies and energies are predicted for: as a record, and as text for a model card."""

from collections.abc import Mapping
from typing import Any

from aebnas.cost.latency.network_profile import Profile
from aebnas.cost.latency.stopwatch import MeasurementSetting
from aebnas.run.measured_rows import measured_rows, measured_where


def device_record(profile: Profile) -> dict[str, Any]:
    """The device that metrics are predicted for and the source of the predictions, JSON-ready."""
    return {
        "name": profile.device["name"],
        "setting": MeasurementSetting(**profile.setting).key,
        "profile": profile.digest,
        "measured_on": profile.date,
        "latency_ms": "predicted from the profile, per sample",
        "energy_mj": f"model: {profile.pj_per_mac:g} pJ per MAC, {profile.pj_per_byte:g} pJ per byte",
    }


def device_text(profile: Profile | None, measured: Mapping[str, Any] | None) -> str:
    """Text for a model card on the profile and on what `aebnas measure` recorded; "" where there is neither."""
    words = []
    if profile is not None:
        words.append(
            f"Latency is predicted for {profile.device['name']} ({MeasurementSetting(**profile.setting).key}) "
            f"from a profile measured on {profile.date}; energy is modelled at {profile.pj_per_mac:g} pJ per "
            f"multiply-add and {profile.pj_per_byte:g} pJ per byte."
        )
    if measured is not None:
        rows = "\n".join(f"| {what} | {real} | {guess} |" for what, real, guess in measured_rows(measured))
        words.append(f"{measured_where(measured)}:\n\n| | measured | predicted |\n|---|---|---|\n{rows}")
    return "\n\n".join(words)
