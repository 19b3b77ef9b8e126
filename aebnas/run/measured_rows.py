"""A record of `aebnas measure` as rows of text, for the terminal, the report and a model card."""

from collections.abc import Mapping
from typing import Any

from aebnas.core.metric_text import with_unit
from aebnas.cost.latency.hard_exit import saved_time_share
from aebnas.cost.latency.stopwatch import MeasurementSetting

NOTHING = "-"


def measured_where(record: Mapping[str, Any]) -> str:
    """Device, setting, number of samples and of rounds of a measurement."""
    setting = MeasurementSetting(**record["setting"]).key
    return f"{record['device']['name']}: {setting}; {record['samples']:,} samples, median of {record['rounds']} rounds"


def measured_rows(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows (quantity, measured, predicted) of a record made by `selected.measure.Measured.to_json`."""
    predicted = record["predicted_latency_ms"] or {}
    rows = [(f"latency, {name}", _ms(ms), _ms(predicted.get(name))) for name, ms in record["latency_ms"].items()]
    expected = record["predicted_by_exit_ms"] or [None] * len(record["by_exit_ms"])
    for index, (share, real_ms, guess_ms) in enumerate(
        zip(record["exit_shares"], record["by_exit_ms"], expected, strict=True)
    ):
        rows.append((f"latency to exit {index + 1} ({share:.0%} leave)", _ms(real_ms), _ms(guess_ms)))
    real, counted = (with_unit("peak_memory_bytes", record[f"{kind}peak_memory_bytes"]) for kind in ("", "predicted_"))
    rows.append(("peak activation memory", real, counted))
    energy = NOTHING if record["energy_mj"] is None else f"{record['energy_mj']:.4g} mJ ({record['energy_source']})"
    rows.append(("energy a sample", energy, f"{record['modelled_energy_mj']:.4g} mJ (model)"))
    for name, clock in record["wall_clock"].items():
        speed_up, macs_ratio, batch = clock["speed_up"], clock["macs_ratio"], name.replace("_", " ")
        rows.append((f"speed-up by exits, {batch}", f"{speed_up:.2f}", f"{macs_ratio:.2f} times fewer MACs"))
        rows.append((f"  speed-up over MACs ratio, {batch}", f"{speed_up / macs_ratio:.2f}", NOTHING))
        share = saved_time_share(speed_up, macs_ratio)  # computed here, since earlier records don't have it
        rows.append((f"  saved time over saved MACs, {batch}", NOTHING if share is None else f"{share:.2f}", NOTHING))
    return rows


def _ms(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f} ms"
