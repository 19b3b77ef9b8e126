"""Predicted against measured latency of held-out random architectures with exits.

    python benchmarks/latency_model.py [--space FILE] [--architectures 60] [--rounds 9] [--threads 1] [--profile FILE]
        [--out results/latency] [--record FILE]

The space's layers, 60 networks for the fit and the held-out networks are measured in the same rounds, so under the same
conditions; the held-out ones twice, which gives the noise floor. Each is left at a random exit, every second one at the
last. The baselines `MACs alone` and `params alone` are lines fitted to the held-out networks, in their favour.
Without `--profile` it takes as long as a profile; with it only held-out networks are measured. The last line is
`MAPE <percent> TAU <number>`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from aebnas.core.progress import progress_bar
from aebnas.cost.counts import count_graph
from aebnas.cost.latency.fitting import make_profile
from aebnas.cost.latency.job import make_job
from aebnas.cost.latency.network_profile import load_profile
from aebnas.cost.latency.stopwatch import MeasurementSetting, measure, result
from aebnas.runtime.graph import Graph
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower

HELD_OUT_SEED = 7


def held_out(space: SearchSpace, count: int, fitted_on: set[str]) -> list[dict[str, Any]]:
    """Networks of the space that the profile wasn't fitted to, each with the exit at which samples leave."""
    rng, found, seen = np.random.default_rng(HELD_OUT_SEED), [], set(fitted_on)
    while len(found) < count:
        graph = lower(space.decode(space.sample(rng)).architecture)
        text = json.dumps(graph.to_json())
        if text in seen:
            continue
        seen.add(text)
        last = len(graph.exits) - 1
        found.append({"graph": json.loads(text), "leave": last if len(found) % 2 else int(rng.integers(last + 1))})
    return found


def split(job: dict[str, Any], times: list[list[float]], held: int) -> tuple[Any, Any, np.ndarray]:
    """(the profile's job, its times, two sets of times of the held-out networks `[2, held]`)."""
    own = {**job, "networks": job["networks"][: len(job["networks"]) - 2 * held]}
    rest = [float(np.median(rounds)) for rounds in times[len(times) - 2 * held :]]
    return own, times[: len(times) - 2 * held], np.array(rest).reshape(2, held)


def report(name: str, predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """Print and return MAPE in percent and Kendall's tau."""
    mape = 100 * float(np.abs(predicted / measured - 1).mean())
    tau = float(kendalltau(predicted, measured).statistic)
    print(f"{name:<28}{mape:>8.2f}{tau:>8.3f}")
    return mape, tau


def line(counts: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Predictions of a line fitted to counts and latencies, weighted for relative errors."""
    return np.polyval(np.polyfit(counts, measured, 1, w=1 / measured), counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=Path("search_spaces/resnet_cifar.yaml"))
    parser.add_argument("--architectures", type=int, default=60)
    parser.add_argument("--networks", type=int, default=60, help="number of networks of the fit")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-format", default="contiguous")
    parser.add_argument("--max-layers", type=int, default=20_000)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--out", type=Path, help="a folder for the table and for each network's figures")
    parser.add_argument("--record", type=Path, help="file of measurements, to resume after a stop")
    options = parser.parse_args()

    setting = MeasurementSetting(threads=options.threads, memory_format=options.memory_format)
    space = SearchSpace.load(options.space)
    job = make_job(space, setting, options.rounds, options.networks, options.max_layers)
    held = held_out(space, options.architectures, {json.dumps(network["graph"]) for network in job["networks"]})
    if options.profile:
        job |= {"layers": [], "left_out": [], "networks": []}
    job |= {"image": None}  # no policies are measured here
    job |= {"networks": job["networks"] + held + held, "id": f"{job['id']}-held-{len(held)}-{bool(options.profile)}"}
    with tempfile.TemporaryDirectory() as folder:
        record = options.record or Path(folder) / "record.jsonl"
        total = (len(job["layers"]) + len(job["networks"])) * options.rounds
        with progress_bar("measure", total) as bar:
            times = measure(job, record, bar.advance)
    own, own_times, (measured, again) = split(job, times, len(held))
    profile = load_profile(options.profile) if options.profile else make_profile(result(own, own_times), "profile")

    graphs, leave = [Graph.from_json(one["graph"]) for one in held], [one["leave"] for one in held]
    counts = [count_graph(graph) for graph in graphs]
    macs = np.array([count.macs.to_exit()[at] for count, at in zip(counts, leave, strict=True)])
    params = np.array([count.params.to_exit()[at] for count, at in zip(counts, leave, strict=True)])
    predicted = np.array([c.to_exit()[at] for c, at in zip(profile.latencies(graphs), leave, strict=True)])
    print(f"{options.space}: {len(held)} held-out networks, {setting.key}; median of {options.rounds} rounds")
    print(f"measured {measured.min():.3f} to {measured.max():.3f} ms; overheads {profile.overheads._asdict()}")
    print(f"{'':<28}{'MAPE %':>8}{'tau':>8}")
    predictions = {
        "measured a second time": again,
        "MACs alone": line(macs, measured),
        "params alone": line(params, measured),
        "our model": predicted,
    }
    found = {name: report(name, ms, measured) for name, ms in predictions.items()}
    mape, tau = found["our model"]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        figures = pd.DataFrame(found, index=["mape_percent", "tau"]).T.rename_axis("predicted by")
        figures.to_csv(options.out / "latency_model.csv", float_format="%.4g")
        columns = {"exit": [at + 1 for at in leave], "macs": macs, "params": params, "measured_ms": measured}
        columns |= {"again_ms": again, "predicted_ms": predicted}
        pd.DataFrame(columns).to_csv(options.out / "latency_model_networks.csv", index=False, float_format="%.6g")
    print(f"MAPE {mape:.2f} TAU {tau:.3f}")


if __name__ == "__main__":
    main()
