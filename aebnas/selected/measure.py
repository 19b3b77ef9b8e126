"""`aebnas measure`: measured latency, energy and memory of a selected model, beside predicted and counted values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from aebnas.core.errors import UserError
from aebnas.core.percentiles import tail, tail_of_samples
from aebnas.core.progress import progress_bar
from aebnas.cost.energy import Energy, find_reader, measure_energy
from aebnas.cost.energy_model import EnergyModel
from aebnas.cost.latency.hard_exit import WallClock, infer, runs, wall_clock
from aebnas.cost.latency.latency_model import latency_model
from aebnas.cost.latency.network_profile import Profile, load_profile, name_first
from aebnas.cost.latency.stopwatch import MeasurementSetting, describe_device, leave_at
from aebnas.cost.live_tensors import recorded_peak
from aebnas.cost.memory import peak_memory
from aebnas.run.events import Listen, RunEvents
from aebnas.run.pick_records import record_pick
from aebnas.run.session import RunSession
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.normalise import normalise
from aebnas.selected.selected_model import SelectedModel, load_selected_model

LARGE_BATCH = 256


@dataclass(frozen=True)
class Measured:
    """A selected model in one setting: measured values, and predicted ones (None without a profile).

    `source` is the origin of the weights. `latency_ms` and `predicted_latency_ms` map mean, p50, ... to ms at batch 1;
    `by_exit_ms` are means over the samples that left at each exit; bytes are peaks for a sample that runs to the last
    exit. `energy` is None if no counter can be read; `modelled_energy_mj` is the estimate of the energy model. `note`
    gives the reason why nothing is predicted, if the run's profile is of another device or setting.
    """

    id: str
    source: str
    policy: ExitPolicy
    setting: MeasurementSetting
    device: dict[str, Any]
    single: WallClock
    batched: WallClock
    latency_ms: dict[str, float]
    predicted_latency_ms: dict[str, float] | None
    by_exit_ms: list[float | None]
    predicted_by_exit_ms: list[float] | None
    energy: Energy | None
    modelled_energy_mj: float
    peak_memory_bytes: int
    predicted_peak_memory_bytes: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The content of `measured` in `picks/<id>.json`."""
        clocks = {
            f"batch_{batch}": {
                "ms_per_sample": clock.ms,
                "speed_up": clock.speed_up,
                "macs_ratio": clock.macs_ratio,
                "speedup_efficiency": clock.speedup_efficiency,
                "saved_time_share": clock.saved_time_share,
            }
            for batch, clock in ((1, self.single), (LARGE_BATCH, self.batched))
        }
        return {
            "source": self.source,
            "policy": self.policy.to_json(),
            "setting": asdict(self.setting),
            "device": self.device,
            "samples": self.single.samples,
            "rounds": self.single.rounds,
            "latency_ms": self.latency_ms,
            "predicted_latency_ms": self.predicted_latency_ms,
            "by_exit_ms": self.by_exit_ms,
            "predicted_by_exit_ms": self.predicted_by_exit_ms,
            "exit_shares": self.single.exit_shares.tolist(),
            "energy_mj": None if self.energy is None else self.energy.mj,
            "energy_source": None if self.energy is None else self.energy.source,
            "modelled_energy_mj": self.modelled_energy_mj,
            "peak_memory_bytes": self.peak_memory_bytes,
            "predicted_peak_memory_bytes": self.predicted_peak_memory_bytes,
            "wall_clock": clocks,
        }


def measure(
    folder: Path,
    rule: str,
    changes: Mapping[str, Any],
    profile_file: Path | None,
    samples: int,
    rounds: int,
    listen: Listen = RunEvents,
) -> Measured:
    """Measure a selected model of a run on images of its search split; recorded in `picks/<id>.json`.

    The setting is that of the profile (`profile_file`, or the run's own), else the defaults, overridden by `changes`.
    If the policy uses difficulty, estimating it is timed and predicted as well. Raises UserError if `profile_file` is
    of another device or setting, or lacks a cost that the policy needs, or the model can't run in this setting.
    """
    session = RunSession.open(folder)
    profile = session.profile if profile_file is None else load_profile(profile_file)
    setting = _setting(profile, changes)
    device, note = _device(setting), ""
    selected = load_selected_model(session, rule)
    graph, policy = selected.network.graph, selected.policy
    exits, estimate_ms = len(graph.exits), 0.0
    if profile is not None:
        try:
            check_profile(profile, setting, device)
            if policy.difficulty is not None:
                estimate_ms = profile.difficulty_ms(graph.input_shape)
        except UserError as error:
            if profile_file is not None:
                raise
            profile, note = None, f"nothing is predicted: {error}"
    search = session.images.splits.search
    pixels = search.subset(torch.arange(min(samples, len(search)))).pixels()
    x_nchw = normalise(pixels, session.images.preprocessing)
    # on the CPU and in fp32, before the network is converted to the setting; a slice would keep all samples in memory
    recorded = recorded_peak(selected.network, x_nchw[:1].clone(), leave_at(exits - 1, exits))
    counted = int(peak_memory(graph)[-1])
    network = setting.network(selected.network)
    with progress_bar("measure", 2 * rounds) as bar:
        single = wall_clock(network, policy, x_nchw, setting, rounds, pixels, bar.advance)
        large = replace(setting, batch=LARGE_BATCH)
        batched = wall_clock(network, policy, x_nchw, large, rounds, pixels, bar.advance)
    predicting = None if profile is None else latency_model(profile)
    model = EnergyModel(dtype=setting.dtype) if profile is None else profile.energy
    predicted_e, modelled_e = None, model.energy(graph).to_exit(runs(policy, exits))
    if predicting is not None:
        predicted_e = predicting.latencies([graph])[0].to_exit(runs(policy, exits)) + estimate_ms
        note = predicting.expected_range(graph)
    if policy.difficulty is not None:
        modelled_e = modelled_e + model.difficulty_mj(graph.input_shape)
    measured = Measured(
        id=selected.id,
        source=selected.source,
        policy=policy,
        setting=setting,
        device=device,
        single=single,
        batched=batched,
        latency_ms=tail_of_samples(single.batch_ms),
        predicted_latency_ms=None if predicted_e is None else tail(predicted_e, single.exit_shares),
        by_exit_ms=single.ms_at_exits(),
        predicted_by_exit_ms=None if predicted_e is None else predicted_e.tolist(),
        energy=_energy(selected, network, x_nchw, setting, pixels),
        modelled_energy_mj=float(modelled_e @ single.exit_shares),
        peak_memory_bytes=recorded,
        predicted_peak_memory_bytes=counted,
        note=note,
    )
    record_pick(session.run, selected.trial_point, "measured", measured.to_json())
    with listen(session.facts) as events:
        events.selected_model_changed(selected.id)
    return measured


def check_profile(profile: Profile, setting: MeasurementSetting, device: dict[str, Any]) -> None:
    """Raise UserError if predictions of a profile are not comparable with measurements in a setting on a device."""
    for what, here, there in (("setting", asdict(setting), profile.setting), ("device", device, profile.device)):
        odd = sorted((name for name in here.keys() | there.keys() if here.get(name) != there.get(name)), key=name_first)
        if odd:
            raise UserError(
                f"{profile.source}: {what}.{odd[0]} must be {here.get(odd[0])!r} as in this measurement, "
                f"but got {there.get(odd[0])!r}"
            )


def _setting(profile: Profile | None, changes: Mapping[str, Any]) -> MeasurementSetting:
    """The setting to measure in, at batch 1."""
    known = MeasurementSetting() if profile is None else MeasurementSetting(**profile.setting | {"batch": 1})
    try:
        return replace(known, **changes)
    except ValueError as error:
        raise UserError(f"--{error}".replace("memory_format", "memory-format")) from None


def _device(setting: MeasurementSetting) -> dict[str, Any]:
    try:
        with setting.applied():
            return describe_device(setting.device)
    except ValueError as error:
        raise UserError(str(error)) from None


def _energy(
    selected: SelectedModel,
    network: Any,
    x_nchw: torch.Tensor,
    setting: MeasurementSetting,
    pixels: torch.Tensor,
) -> Energy | None:
    """Energy read from a counter, mean over the samples under the policy; None if there is no counter."""
    reader = find_reader(setting.device)
    if reader is None:
        return None
    singles = [setting.placed(x) for x in x_nchw.split(1)]
    shown = pixels.to(setting.device).split(1)

    def all_samples() -> None:
        for x, image in zip(singles, shown, strict=True):
            infer(network, selected.policy, x, image)
        if setting.device == "cuda":
            torch.cuda.synchronize()

    with setting.applied():
        return measure_energy(all_samples, reader, len(singles))
