"""What is said of the device for which latencies and energies were predicted."""

from typing import Any

from aebnas.cost.device import DeviceProfile
from aebnas.cost.stopwatch import Setting


def about_device(profile: DeviceProfile) -> dict[str, Any]:
    """For which device figures are predicted, and from what."""
    return {
        "name": profile.device["name"],
        "setting": Setting(**profile.setting).key,
        "profile": profile.digest,
        "measured_on": profile.date,
        "latency_ms": "predicted from the profile, per sample",
        "energy_mj": f"model: {profile.pj_per_mac:g} pJ per MAC, {profile.pj_per_byte:g} pJ per byte",
    }


def device_sentence(profile: DeviceProfile) -> str:
    """The same for a model card."""
    return (
        f"Latency is predicted for {profile.device['name']} ({Setting(**profile.setting).key}) from a profile measured "
        f"on {profile.date}; energy is modelled at {profile.pj_per_mac:g} pJ per multiply-add and "
        f"{profile.pj_per_byte:g} pJ per byte."
    )
