"""`aebnas measure`: a pick as it really runs, beside what is predicted and counted."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aebnas.cost.device import DeviceProfile
from aebnas.cost.energy import Energy, find_reader, measure_energy
from aebnas.cost.energy_model import EnergyModel
from aebnas.cost.hard_exit import WallClock, runs, wall_clock
from aebnas.cost.live import recorded_peak
from aebnas.cost.memory import peak_memory
from aebnas.cost.stopwatch import Setting, describe_device, leave_at
from aebnas.errors import UserError
from aebnas.tail import tail, tail_of_samples
from aebnas.workspace import Chosen, Workspace, load_chosen, note_pick

LARGE_BATCH = 256


@dataclass(frozen=True)
class Measured:
    """A pick in one setting: real figures, and the predicted ones (None without a profile).

    `latency_ms` and `predicted_latency_ms` map mean, p50, ... to ms at batch 1; `by_exit_ms` are means of the samples
    that left at each exit; bytes are peaks of a sample that runs to the last exit.
    """

    id: str
    setting: Setting
    device: dict[str, Any]
    single: WallClock
    batched: WallClock
    latency_ms: dict[str, float]
    predicted_latency_ms: dict[str, float] | None
    by_exit_ms: list[float | None]
    predicted_by_exit_ms: list[float] | None
    energy: Energy
    peak_memory_bytes: int
    predicted_peak_memory_bytes: int

    def to_json(self) -> dict[str, Any]:
        """What `picks/<id>.json` keeps under `measured`."""
        clocks = {
            f"batch_{batch}": {
                "ms_per_sample": clock.ms,
                "speed_up": clock.speed_up,
                "macs_ratio": clock.macs_ratio,
                "kept": clock.kept,
            }
            for batch, clock in ((1, self.single), (LARGE_BATCH, self.batched))
        }
        return {
            "setting": asdict(self.setting),
            "device": self.device,
            "samples": self.single.samples,
            "rounds": self.single.rounds,
            "latency_ms": self.latency_ms,
            "predicted_latency_ms": self.predicted_latency_ms,
            "by_exit_ms": self.by_exit_ms,
            "predicted_by_exit_ms": self.predicted_by_exit_ms,
            "exit_shares": self.single.exit_shares.tolist(),
            "energy_mj": self.energy.mj,
            "energy_source": self.energy.source,
            "peak_memory_bytes": self.peak_memory_bytes,
            "predicted_peak_memory_bytes": self.predicted_peak_memory_bytes,
            "wall_clock": clocks,
        }


def measure(
    folder: Path, rule: str, setting: Setting, profile_file: Path | None, samples: int, rounds: int
) -> Measured:
    """Measure a pick of a run on pictures of its search split; noted in `picks/<id>.json`.

    Raises UserError where the profile is of another device or setting, or the pick can't be run in this one.
    """
    device = _device(setting)
    profile = None if profile_file is None else DeviceProfile.load(profile_file)
    if profile is not None:
        check_profile(profile, setting, device)
    workspace = Workspace.open(folder)
    chosen = load_chosen(workspace, rule)
    search = workspace.splits.search
    pictures = search.subset(torch.arange(min(samples, len(search)))).pictures()
    x_nchw = workspace.preprocessing.apply(pictures)
    difficulty = chosen.policy.difficulty
    alpha_n = None if difficulty is None else difficulty.alpha(pictures)
    graph, policy = chosen.network.graph, chosen.policy
    exits = len(graph.exits)
    # on the CPU and in fp32, before the network is made ready for the setting; a slice would hold all samples
    recorded = recorded_peak(chosen.network, x_nchw[:1].clone(), leave_at(exits - 1, exits))
    counted = int(peak_memory(graph)[-1])
    network = setting.network(chosen.network)
    single = wall_clock(network, policy, x_nchw, setting, rounds, alpha_n)
    batched = wall_clock(network, policy, x_nchw, replace(setting, batch=LARGE_BATCH), rounds, alpha_n)
    predicted_e = None if profile is None else profile.latency(graph).to_exit(runs(policy, exits))
    measured = Measured(
        id=chosen.id,
        setting=setting,
        device=device,
        single=single,
        batched=batched,
        latency_ms=tail_of_samples(single.batch_ms),
        predicted_latency_ms=None if predicted_e is None else tail(predicted_e, single.exit_shares),
        by_exit_ms=single.ms_at_exits(),
        predicted_by_exit_ms=None if predicted_e is None else predicted_e.tolist(),
        energy=_energy(chosen, network, x_nchw, setting, single, alpha_n),
        peak_memory_bytes=recorded,
        predicted_peak_memory_bytes=counted,
    )
    note_pick(workspace.run, chosen.id, "measured", measured.to_json())
    return measured


def check_profile(profile: DeviceProfile, setting: Setting, device: dict[str, Any]) -> None:
    """Raise UserError where a profile's figures can't stand beside those measured in a setting on a device."""
    for what, here, there in (("setting", asdict(setting), profile.setting), ("device", device, profile.device)):
        odd = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        if odd:
            raise UserError(
                f"{profile.source}: {what}.{odd[0]} must be {here.get(odd[0])!r} as it is measured here, "
                f"but got {there.get(odd[0])!r}"
            )


def print_measured(measured: Measured) -> None:
    """The figures in the terminal, real beside predicted."""
    single, predicted = measured.single, measured.predicted_latency_ms or {}
    print(f"  {'latency at batch 1, ms':<24}{'measured':>10}{'predicted':>11}")
    for name, ms in measured.latency_ms.items():
        print(f"  {name:<24}{ms:>10.3f}{predicted.get(name, float('nan')):>11.3f}")
    for index, real_ms in enumerate(measured.by_exit_ms):
        guess = measured.predicted_by_exit_ms[index] if measured.predicted_by_exit_ms else float("nan")
        share = f"exit {index + 1} ({100 * single.exit_shares[index]:.0f} % leave)"
        print(f"  {share:<24}{'-' if real_ms is None else format(real_ms, '.3f'):>10}{guess:>11.3f}")
    recorded, counted = measured.peak_memory_bytes, measured.predicted_peak_memory_bytes
    print(f"  {'peak activation bytes':<24}{recorded:>10,}{counted:>11,}")
    print(f"  energy {measured.energy.mj:.4g} mJ a sample ({measured.energy.source})")
    for batch, clock in ((1, single), (LARGE_BATCH, measured.batched)):
        print(
            f"  batch {batch}: {clock.ms:.3f} ms a sample, {clock.speed_up:.2f} times as fast as without exits "
            f"({clock.macs_ratio:.2f} times fewer MACs)"
        )


def _device(setting: Setting) -> dict[str, Any]:
    try:
        with setting.applied():
            return describe_device(setting.device)
    except ValueError as error:
        raise UserError(str(error)) from None


def _energy(
    chosen: Chosen,
    network: Any,
    x_nchw: torch.Tensor,
    setting: Setting,
    single: WallClock,
    alpha_n: torch.Tensor | None,
) -> Energy:
    """By a counter where there is one, else modelled: mean over the samples as they left."""
    reader = find_reader(setting.device)
    if reader is None:
        model = EnergyModel(dtype=setting.dtype)
        to_exit_e = model.energy(chosen.network.graph).to_exit(runs(chosen.policy, single.exits))
        return Energy(float(np.asarray(to_exit_e) @ single.exit_shares), model.source)
    alphas = [None] * len(x_nchw) if alpha_n is None else list(alpha_n.to(setting.device).split(1))
    singles = [setting.placed(x) for x in x_nchw.split(1)]

    def all_samples() -> None:
        for x, alpha in zip(singles, alphas, strict=True):
            network.infer(x, chosen.policy, alpha)
        if setting.device == "cuda":
            torch.cuda.synchronize()

    with setting.applied():
        return measure_energy(all_samples, reader, len(singles))
