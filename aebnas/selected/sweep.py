"""`aebnas sweep RUN`: all nondominated policies of a selected model as a table, from outputs recorded in the run."""

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
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.calibrate import PER_EXIT, fit_finder
from aebnas.selected.recorded_outputs import SelectedModelOutputs

DEFAULT_METHODS = ("auto", "greedy", "fixed")


@dataclass(frozen=True)
class Sweep:
    """The accuracy-cost frontiers of a selected model, one per method.

    `table`, also written to `csv`, has a row per policy: metrics on `calibrate`, where the policy was found, and on the
    `samples` images of the search split, which the threshold search doesn't read.
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
    """Find the frontier of a selected model's policies by each method, and write the table.

    `per_exit` is the number of quantiles tried per exit, `out` the folder of the table (default: the run's `picks/`);
    `listen` makes the listener of the events. Raises UserError if no point matches, a method is unknown, or weights are
    missing.
    """
    outputs = SelectedModelOutputs.open(folder, rule)
    cost, accuracy = mean_of(outputs.tuned_cost), outputs.tuned_accuracy
    rows = []
    for method in methods:
        fitted = fit_finder(outputs, method, per_exit, temperatures, outputs.tuned_cost, accuracy)
        search = fitted.with_difficulty(outputs, SEARCH)
        for point in fitted.finder(fitted.table).points:
            on_search = score_policy(search, point.policy)
            low, high = wilson(on_search.accuracy, search.samples)
            row = {"method": method, f"calibrate_{accuracy}": point.accuracy, f"calibrate_{cost}": point.cost}
            row |= {"accuracy": on_search.accuracy, "accuracy_low": low, "accuracy_high": high}
            row |= on_search.class_metrics
            row |= {mean_of(name): value for name, value in on_search.mean_cost.items()}
            row |= {"criterion": point.policy.label}
            row |= {"thresholds": " ".join("never" if t is None else f"{t:.6g}" for t in point.policy.thresholds)}
            row |= {"exit_shares": " ".join(f"{share:.4f}" for share in on_search.exit_shares)}
            rows.append(row | {"policy": json.dumps(point.policy.to_json())})
    table = pd.DataFrame(rows)
    where = out or outputs.session.run.folder / "picks"
    csv = where / f"{outputs.id}-sweep.csv"
    write_text(csv, table.to_csv(index=False))
    curves = {str(name): (part[cost], part[accuracy]) for name, part in table.groupby("method", sort=False)}
    current = outputs.state.point.metrics
    table_search = outputs.table(SEARCH)
    last_exit = score_policy(table_search, ExitPolicy("confidence", (None,) * (table_search.exits - 1)))
    marks = {
        "policy in force": (current[cost], current[accuracy]),
        "same backbone, last exit only": (
            float(outputs.costs[outputs.tuned_cost].taken_only_ne[:, -1].mean()),
            last_exit.share(accuracy),
        ),
    }
    with listen(outputs.session.facts) as events:
        events.policies_swept(PolicyFrontiers(outputs.id, cost, accuracy, search.samples, curves, marks, csv))
    return Sweep(outputs.id, search.samples, table, csv)
