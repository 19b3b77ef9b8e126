"""`aebnas sweep RUN`: all undominated policies of a selected model, as a table, from outputs recorded in the run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from aebnas.core.atomic_files import write_text
from aebnas.core.confidence_intervals import wilson
from aebnas.core.metrics import mean_of
from aebnas.data.splits import SEARCH
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.run.events import Listen, PolicyFrontiers, RunEvents
from aebnas.selected.calibrate import PER_EXIT, prepare
from aebnas.selected.recorded_outputs import SelectedModelOutputs

DEFAULT_METHODS = ("auto", "greedy", "fixed")


@dataclass(frozen=True)
class Sweep:
    """A selected model's frontiers by method.

    `table`, also written to `csv`, has a row for each policy: metrics on `calibrate`, where it was found, and on the
    search split, which had no part in finding it (`samples` images).
    """

    id: str
    samples: int
    table: pd.DataFrame
    csv: Path


def sweep(
    folder: Path,
    rule: str,
    methods: Sequence[str] = DEFAULT_METHODS,
    per_exit: int = PER_EXIT,
    temperatures: bool = True,
    out: Path | None = None,
    listen: Listen = RunEvents,
) -> Sweep:
    """The frontiers of a selected model's policies by each method; raises UserError.

    `out` is the folder of the table (the run's `picks/`); `listen` makes the listener of the events.
    """
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
            row |= {"criterion": point.policy.label}
            row |= {"thresholds": " ".join("never" if t is None else f"{t:.6g}" for t in point.policy.thresholds)}
            row |= {"exit_shares": " ".join(f"{share:.4f}" for share in on_search.exit_shares)}
            rows.append(row | {"policy": json.dumps(point.policy.to_json())})
    table = pd.DataFrame(rows)
    where = out or answered.session.run.folder / "picks"
    csv = where / f"{answered.id}-sweep.csv"
    write_text(csv, table.to_csv(index=False))
    curves = {str(name): (part[cost], part["accuracy"]) for name, part in table.groupby("method", sort=False)}
    now = answered.state.point.metrics
    full = float(answered.table(SEARCH).correct_ne[:, -1].mean())
    marks = {
        "policy in force": (now[cost], now["accuracy"]),
        "same backbone, last exit alone": (
            float(answered.costs[answered.tuned_cost].taken_only_ne[:, -1].mean()),
            full,
        ),
    }
    with listen(answered.session.facts) as events:
        events.policies_swept(PolicyFrontiers(answered.id, cost, search.samples, curves, marks, csv))
    return Sweep(answered.id, search.samples, table, csv)
