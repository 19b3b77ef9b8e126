"""`aebnas sweep RUN`: all undominated policies of a selected model, as a table and an image, from recorded outputs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from aebnas.core.atomic_files import write_text
from aebnas.core.confidence_intervals import wilson
from aebnas.core.metrics import mean_of
from aebnas.data.splits import SEARCH
from aebnas.policies.exit_table.exit_costs import taken_only
from aebnas.policies.exit_table.exit_table import score_policy
from aebnas.report.policy_plot import plot_frontiers
from aebnas.selected.calibrate import PER_EXIT, prepare
from aebnas.selected.recorded_outputs import SelectedModelOutputs

DEFAULT_METHODS = ("auto", "greedy", "fixed")


@dataclass(frozen=True)
class Sweep:
    """A pick's frontiers by method. `table` has a row for each policy: figures on `calibrate`, where it was found, and
    on the search split, which had no part in finding it (`samples` images)."""

    id: str
    samples: int
    table: pd.DataFrame
    csv: Path
    image: Path


def sweep(
    folder: Path,
    rule: str,
    methods: Sequence[str] = DEFAULT_METHODS,
    per_exit: int = PER_EXIT,
    temperatures: bool = True,
    out: Path | None = None,
) -> Sweep:
    """The frontiers of a pick's policies by each method; raises UserError. `out` is a folder (the run's `picks/`)."""
    answered = SelectedModelOutputs.open(folder, rule)
    cost = mean_of(answered.tuned_cost)
    rows = []
    for method in methods:
        prepared = prepare(answered, method, per_exit, temperatures, answered.tuned_cost)
        search = prepared.with_difficulty(answered, SEARCH)
        for point in prepared.finder(prepared.table).points:
            on_search = score_policy(search, point.policy)
            low, high = wilson(on_search.accuracy, search.samples)
            row = {"method": method, "calibrate_accuracy": point.accuracy, f"calibrate_{cost}": point.cost}
            row |= {"accuracy": on_search.accuracy, "accuracy_low": low, "accuracy_high": high}
            row |= {mean_of(name): value for name, value in on_search.mean_cost.items()}
            row |= {"criterion": point.policy.rule}
            row |= {"thresholds": " ".join("never" if t is None else f"{t:.6g}" for t in point.policy.thresholds)}
            row |= {"exit_shares": " ".join(f"{share:.4f}" for share in on_search.exit_shares)}
            rows.append(row | {"policy": json.dumps(point.policy.to_json())})
    table = pd.DataFrame(rows)
    where = out or answered.session.run.folder / "picks"
    csv, image = where / f"{answered.id}-sweep.csv", where / f"{answered.id}-sweep.png"
    write_text(csv, table.to_csv(index=False))
    curves = {str(name): (part[cost], part["accuracy"]) for name, part in table.groupby("method", sort=False)}
    now = answered.now.point.metrics
    full = float(answered.table(SEARCH).correct_ne[:, -1].mean())
    marks = {
        "policy in force": (now[cost], now["accuracy"]),
        "same backbone, last exit alone": (float(taken_only(answered.costs[answered.tuned_cost])[:, -1].mean()), full),
    }
    title = f"{answered.id}, search split (N = {search.samples:,})"
    unit, scale = ("average MACs of a sample, in millions", 1e6) if cost == "avg_macs" else (f"mean {cost}", 1.0)
    plot_frontiers(curves, marks, title, image, unit, scale)
    return Sweep(answered.id, search.samples, table, csv, image)
