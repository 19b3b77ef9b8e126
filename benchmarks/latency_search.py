"""Whether a search for latency finds faster networks than a search for MACs: both fronts, timed on this machine.

    aebnas profile search_spaces/mixed_cifar.yaml --out results/latency_search/profile.json
    python benchmarks/latency_search.py [--spec experiments/latency_mini.yaml] [--out results/scratch_latency_search]
        [--seeds 11 22 33] [--searches-only] [--rounds 9]

For each seed one supernet is trained and searched twice, with the objectives accuracy and latency_ms (predicted from
the spec's profile) and with accuracy and avg_macs. Then all points of all fronts are measured in the same rounds: the
time to each exit at which samples leave, weighted by their shares. The hypervolume of a front is that of accuracy and
measured mean latency, relative to the maximum measured latency of that seed's points; beside it is that of predicted
latency. The last line is `BETTER <seeds in which latency_ms was better> OF <seeds>`. A stopped
benchmark resumes when started again; `--searches-only` leaves the timing to a later start, on an idle machine.
"""

import argparse
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from aebnas.core.atomic_files import write_text
from aebnas.core.pareto import hypervolume
from aebnas.core.progress import progress_bar
from aebnas.core.spec_base import read_yaml
from aebnas.cost.latency.stopwatch import measure
from aebnas.report.run_report import RunReport
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.space.lowering import lower
from aebnas.strategies.front import FrontPoint

COSTS = ("latency_ms", "avg_macs")
COLOURS = {"latency_ms": "#0072B2", "avg_macs": "#D55E00"}


def write_spec(source: Path, out: Path, seed: int, cost: str) -> Path:
    """Write the experiment `source` with another seed and cost objective, paths relative to `out`; returns the file."""
    spec: dict[str, Any] = read_yaml(source)
    spec |= {"seed": seed, "objectives": ["accuracy", cost]}
    for part, key in ((spec, "space"), (spec["data"], "path"), (spec["data"], "root"), (spec["device"], "profile")):
        if key in part:
            part[key] = os.path.relpath(source.parent / Path(part[key]).expanduser(), out)
    write_text(out / f"seed{seed}-{cost}.yaml", json.dumps(spec, indent=2))
    return out / f"seed{seed}-{cost}.yaml"


def search(source: Path, out: Path, seed: int) -> dict[str, RunSession]:
    """Both searches of a seed, by cost; the second uses the supernet of the first."""
    runs: dict[str, RunSession] = {}
    for cost in COSTS:
        run = Run(out / f"seed{seed}-{cost}")
        if runs and not run.supernet_weights.exists():
            run.checkpoints.mkdir(parents=True, exist_ok=True)
            shutil.copy(runs[COSTS[0]].run.supernet_weights, run.supernet_weights)
        runs[cost] = run_search(write_spec(source, out, seed, cost), run.folder, listen=RunReport)
    return runs


def timings(points: list[FrontPoint], setting: dict[str, Any], rounds: int, record: Path) -> list[float]:
    """Measured mean latency of each point: of each exit at which samples leave, weighted by their shares."""
    subjects: dict[str, int] = {}
    needed: list[list[tuple[int, float]]] = []
    for trial, point in points:
        graph = lower(trial.architecture).to_json()
        never = [index for index in range(len(point.exit_shares) - 1) if not point.policy.runs(index)]
        parts = []
        for index, share in enumerate(point.exit_shares):
            if share > 0:
                subject = {"graph": graph, "leave": index, "never": [e for e in never if e < index]}
                parts.append((subjects.setdefault(json.dumps(subject), len(subjects)), share))
        needed.append(parts)
    job: dict[str, Any] = {"setting": setting, "rounds": rounds, "seed": 1, "layers": []}
    job["networks"] = [json.loads(text) for text in subjects]
    job["id"] = hashlib.blake2b(json.dumps(job).encode(), digest_size=8).hexdigest()
    with progress_bar("measure fronts", len(subjects) * rounds, _lines(record)) as bar:
        ms = [float(np.median(each)) for each in measure(job, record, bar.advance)]
    return [sum(share * ms[subject] for subject, share in parts) for parts in needed]


def _lines(record: Path) -> int:
    return max(0, record.read_bytes().count(b"\n") - 1) if record.exists() else 0


def volume(rows: pd.DataFrame, latency: str, max_ms: float) -> float:
    """Hypervolume of error and latency relative to `max_ms`."""
    points = np.column_stack([1 - rows["accuracy"], rows[latency] / max_ms])
    return hypervolume(points, np.ones(2))


def draw(table: pd.DataFrame, path: Path) -> None:
    """A panel for each seed: all points of both fronts, and a line through those not dominated when measured."""
    seeds = sorted(table["seed"].unique())
    figure, panels = plt.subplots(1, len(seeds), figsize=(4.2 * len(seeds), 4), sharey=True, layout="constrained")
    for panel, seed in zip(np.atleast_1d(panels), seeds, strict=True):
        for cost in COSTS:
            rows = table[(table["seed"] == seed) & (table["searched"] == cost)].sort_values("measured_ms")
            panel.scatter(rows["measured_ms"], 100 * rows["accuracy"], s=14, color=COLOURS[cost], alpha=0.6)
            best = rows[rows["accuracy"] > rows["accuracy"].cummax().shift(fill_value=-1)]
            style = {"linewidth": 1.4, "color": COLOURS[cost], "drawstyle": "steps-post"}
            panel.plot(best["measured_ms"], 100 * best["accuracy"], label=f"searched for {cost}", **style)
        panel.set_title(f"seed {seed}")
        panel.set_xlabel("measured mean latency (ms)")
        panel.grid(alpha=0.3)
    np.atleast_1d(panels)[0].set_ylabel("accuracy on the search split (%)")
    np.atleast_1d(panels)[0].legend(loc="lower right")
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, default=Path("experiments/latency_mini.yaml"))
    parser.add_argument("--out", type=Path, default=Path("results/scratch_latency_search"))
    parser.add_argument("--tables", type=Path, help="folder of tables and plot, --out if absent")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 22, 33])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--searches-only", action="store_true")
    options = parser.parse_args()

    runs = {
        (seed, cost): run for seed in options.seeds for cost, run in search(options.spec, options.out, seed).items()
    }
    if options.searches_only:
        return
    fronts = [(seed, cost, pair) for (seed, cost), run in runs.items() for pair in run.front()]
    profile = next(iter(runs.values())).profile
    assert profile is not None, "the spec names a profile"
    record = options.out / "measured.jsonl"
    measured = timings([pair for _, _, pair in fronts], profile.setting, options.rounds, record)
    keys = ("accuracy", "latency_ms", "avg_macs")
    table = pd.DataFrame(
        {"seed": seed, "searched": cost, "id": point.id, **{key: point.metrics[key] for key in keys}, "measured_ms": ms}
        for (seed, cost, (_, point)), ms in zip(fronts, measured, strict=True)
    )
    tables = options.tables or options.out
    tables.mkdir(parents=True, exist_ok=True)
    table.to_csv(tables / "fronts.csv", index=False, float_format="%.6g")
    draw(table, tables / "fronts.png")

    rows = []
    for (seed, cost), points in table.groupby(["seed", "searched"], sort=False):
        of_seed = table[table["seed"] == seed]
        row = {"seed": seed, "searched": cost, "points": len(points)}
        row |= {
            f"hypervolume_{how}": volume(points, column, of_seed[column].max())
            for how, column in (("measured", "measured_ms"), ("predicted", "latency_ms"))
        }
        rows.append(row)
    volumes = pd.DataFrame(rows)
    volumes.to_csv(tables / "hypervolumes.csv", index=False, float_format="%.6g")
    print(volumes.to_string(index=False))
    off = (table["latency_ms"] / table["measured_ms"] - 1).abs().mean()
    print(f"{len(table)} points; mean error of predicted latency {100 * off:.1f} %")
    by_cost = {cost: volumes[volumes["searched"] == cost]["hypervolume_measured"].to_numpy() for cost in COSTS}
    for cost, values in by_cost.items():
        print(f"{cost:<12} measured hypervolume {values.mean():.4f} +- {values.std(ddof=min(1, len(values) - 1)):.4f}")
    print(f"BETTER {int((by_cost['latency_ms'] > by_cost['avg_macs']).sum())} OF {len(options.seeds)}")


if __name__ == "__main__":
    main()
