"""The gain from searched branches, tuned thresholds and early exits: the whole space compared with its ablations.

    python benchmarks/ablations.py [--spec experiments/ablations_mini.yaml] [--out results/scratch_ablations]
        [--seeds 11 22 33] [--supernet-epochs 20] [--generations 6] [--budgets 4e6 8e6 12e6] [--retrain 20]

For each seed one supernet is trained, on the whole space. The ablations search parts of that space with slices of
the same weights, which are exactly those that their networks have in the search of the whole space; so differences
are due to the search only, but a supernet trained without exits might suit `backbone-only` better. All have the
same number of evaluations. The table gives the hypervolume of the front (search split, costs relative to the whole
space's maximum), and for each budget of average MACs the accuracy of the best point within it on the search split and,
on the test set, of that same point (with `--retrain N` retrained separately for N epochs before). Without
`--budgets` they are the quartiles of the first seed's front. A stopped benchmark resumes when started again.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from aebnas.core.atomic_files import write_text
from aebnas.core.errors import UserError
from aebnas.core.spec_base import read_yaml
from aebnas.report.run_report import RunReport
from aebnas.run.hypervolume import normalised_hypervolume
from aebnas.run.pick_records import read_record
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.training_setup import new_supernet, trained_supernet
from aebnas.run.weight_files import save_weights
from aebnas.search.loop import run_search
from aebnas.selected.evaluate import evaluate
from aebnas.selected.retrain import retrain
from aebnas.space.ablation import ABLATIONS, ablate
from aebnas.supernet.elastic import slice_to

FULL = "full"


def write_spec(source: Path, out: Path, seed: int, epochs: int | None, generations: int | None) -> Path:
    """Write the experiment `source` with another seed and schedule, and paths relative to `out`; returns the file."""
    spec: dict[str, Any] = read_yaml(source)
    spec["seed"] = seed
    spec["space"] = os.path.relpath(source.parent / Path(spec["space"]).expanduser(), out)
    for key in ("path", "root"):
        if key in spec["data"]:
            spec["data"][key] = os.path.relpath(source.parent / Path(spec["data"][key]).expanduser(), out)
    if epochs is not None and spec.get("supernet"):
        spec["supernet"]["epochs"] = epochs
    if generations is not None:
        spec.setdefault("strategy", {})["generations"] = generations
    file = out / f"seed{seed}.yaml"
    write_text(file, json.dumps(spec, indent=2))
    return file


def search_all(spec: Path, out: Path, seed: int) -> dict[str, RunSession]:
    """Finished runs of the whole space and its ablations, by name."""
    runs = {FULL: run_search(spec, out / f"seed{seed}-{FULL}", listen=RunReport)}
    for name in ABLATIONS:
        folder = out / f"seed{seed}-{name}"
        if runs[FULL].experiment.trains_supernet and not Run(folder).supernet_weights.exists():
            copy_weights(runs[FULL], folder, name)
        runs[name] = run_search(spec, folder, ablation=name, listen=RunReport)
    return runs


@torch.no_grad()
def copy_weights(full: RunSession, folder: Path, ablation: str) -> None:
    """Save the slices of a trained supernet that an ablation's space needs as the weights of its run."""
    part = RunSession(Run(folder), full.experiment, ablate(full.space, ablation), full.base)
    weights, supernet = trained_supernet(full).state_dict(), new_supernet(part)
    for name, parameter in supernet.named_parameters():
        parameter.copy_(slice_to(weights[name], tuple(parameter.shape)))
    save_weights(supernet, part.run.supernet_weights)


def measure(run: RunSession, full: RunSession, budgets: list[float], retrain_epochs: int) -> dict[str, float]:
    """Hypervolume, and accuracies within each budget; NaN where no point satisfies it."""
    row = {"hypervolume": normalised_hypervolume(full.facts, run.front())}
    for budget in budgets:
        row |= {f"search@{budget:g}": np.nan, f"test@{budget:g}": np.nan}
        try:
            _, point = run.pick(f"avg_macs <= {budget}")
        except UserError:
            continue
        if retrain_epochs and "retrained" not in read_record(run.run, point.id):
            retrain(run.run.folder, point.id, epochs=retrain_epochs)
        measured = evaluate(run.run.folder, point.id).point
        row |= {
            f"search@{budget:g}": point.metrics["accuracy"],
            f"test@{budget:g}": measured.metrics["accuracy"],
            f"test_macs@{budget:g}": measured.metrics["avg_macs"],
        }
    return row


def print_table(table: pd.DataFrame, budgets: list[float]) -> None:
    """Mean and standard deviation over seeds, a line for each variant."""
    columns = ["hypervolume", *(f"{split}@{budget:g}" for budget in budgets for split in ("search", "test"))]
    titles = ["hypervolume", *(f"{split} @{budget / 1e6:.3g}M" for budget in budgets for split in ("search", "test"))]
    print(f"{'':<18}" + "".join(f"{title:>17}" for title in titles))
    for name, rows in table.groupby("variant", sort=False):
        cells = []
        for column in columns:
            scale, digits = (1, 4) if column == "hypervolume" else (100, 2)
            values = rows[column].to_numpy(float) * scale
            known = values[~np.isnan(values)]
            spread = f" +- {known.std(ddof=1):.{digits}f}" if len(known) > 1 else ""
            some = "" if len(known) == len(values) else f" ({len(known)} of {len(values)})"
            cells.append(f"{known.mean():.{digits}f}{spread}{some}" if len(known) else "-")
        print(f"{name:<18}" + "".join(f"{cell:>17}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, default=Path("experiments/ablations_mini.yaml"))
    parser.add_argument("--out", type=Path, default=Path("results/scratch_ablations"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 22, 33])
    parser.add_argument("--supernet-epochs", type=int, help="instead of the spec's")
    parser.add_argument("--generations", type=int, help="instead of the spec's")
    parser.add_argument("--budgets", type=float, nargs="+")
    parser.add_argument("--retrain", type=int, default=0, help="epochs for which points are retrained before the test")
    options = parser.parse_args()

    rows: list[dict[str, Any]] = []
    budgets: list[float] = options.budgets or []
    for seed in options.seeds:
        spec = write_spec(options.spec, options.out, seed, options.supernet_epochs, options.generations)
        runs = search_all(spec, options.out, seed)
        if not budgets:
            costs = [point.metrics["avg_macs"] for _, point in runs[FULL].front()]
            budgets = [float(f"{value:.2g}") for value in np.quantile(costs, [0.25, 0.5, 0.75])]
        for name, run in runs.items():
            rows.append({"seed": seed, "variant": name} | measure(run, runs[FULL], budgets, options.retrain))
            write_text(options.out / "ablations.csv", pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))
    how = f"retrained for {options.retrain} epochs" if options.retrain else runs[FULL].experiment.evaluate.source
    print(f"\n{options.spec}, seeds {options.seeds}; accuracy in % within a budget of average MACs; weights {how}")
    print_table(pd.DataFrame(rows), budgets)


if __name__ == "__main__":
    main()
