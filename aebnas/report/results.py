"""The front as files: `pareto.csv`, `pareto.json`, `summary.json`, and what is drawn from them."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from aebnas.cost.bounds import space_bounds
from aebnas.files import write_json, write_text
from aebnas.front import FrontPoint, front
from aebnas.objectives import METRICS
from aebnas.pareto import hypervolume
from aebnas.report.html import write_html
from aebnas.report.plots import plot_front
from aebnas.trial import Status, Trial
from aebnas.workspace import Workspace

FIRST_COLUMNS = ("accuracy", "avg_macs", "avg_macs_taken_only", "params")


def write_front(workspace: Workspace, trials: Sequence[Trial]) -> list[FrontPoint]:
    """Write the front of `trials` to `pareto.csv` and `pareto.json`, and `summary.json`."""
    experiment, folder = workspace.experiment, workspace.run.folder
    points = front(trials, experiment.parsed_objectives(), experiment.parsed_constraints())
    table = pd.DataFrame([front_row(pair) for pair in points], columns=None if points else ["id", *FIRST_COLUMNS])
    write_text(folder / "pareto.csv", table.to_csv(index=False))
    as_json = [{"id": p.id, **p.to_json(), "architecture": t.architecture.to_json()} for t, p in points]
    write_json(folder / "pareto.json", as_json)
    write_json(folder / "summary.json", _summary(workspace, trials, points))
    return points


def write_report(workspace: Workspace) -> None:
    """Write everything that is drawn: `pareto.png` and `report.html`, from the trials on disk."""
    trials = workspace.run.trials()
    points = write_front(workspace, trials)
    plot_front(workspace, trials, points)
    write_html(workspace, trials, points)


def front_row(pair: FrontPoint) -> dict[str, Any]:
    """One operating point as a flat row, numbers for exits from 1."""
    trial, point = pair
    row: dict[str, Any] = {"id": point.id}
    row |= {name: point.metrics[name] for name in FIRST_COLUMNS}
    row |= {name: value for name, value in point.metrics.items() if name not in FIRST_COLUMNS}
    row["criterion"] = point.policy.criterion
    row["thresholds"] = " ".join("never" if t is None else f"{t:.6g}" for t in point.policy.thresholds)
    row["exit_shares"] = " ".join(f"{share:.4f}" for share in point.exit_shares)
    row["exit_accuracy"] = " ".join("-" if a is None else f"{a:.4f}" for a in point.exit_accuracy)
    row["architecture"] = str(trial.architecture)
    return row


def normalised_hypervolume(workspace: Workspace, points: Sequence[FrontPoint]) -> float:
    """Hypervolume with reference (1, 1, ...): error as it is, costs over the space's greatest."""
    if not points:
        return 0.0
    columns = []
    for objective in workspace.experiment.parsed_objectives():
        values = np.array([point.metrics[objective.metric] for _, point in points])
        if METRICS[objective.metric].direction == "max":
            columns.append(1 - values)
        else:
            columns.append(values / greatest(workspace, objective.metric))
    return float(hypervolume(np.stack(columns, 1), np.ones(len(columns))))


def greatest(workspace: Workspace, metric: str) -> int:
    """The greatest value of a cost metric in the space (for averages, of a sample that runs everything)."""
    name = "macs" if metric.startswith("avg_macs") else metric
    return space_bounds(workspace.space.spec, lambda counts: getattr(counts, name)).upper


def _summary(workspace: Workspace, trials: Sequence[Trial], points: Sequence[FrontPoint]) -> dict[str, Any]:
    status = [trial.status for trial in trials]
    return {
        "trials": len(trials),
        **{name: status.count(name) for name in get_args(Status)},
        "not_evaluated": sum(trial.reason.startswith("not evaluated") for trial in trials),
        "operating_points": sum(len(trial.points) for trial in trials),
        "front_points": len(points),
        "front_architectures": len({trial.architecture.id for trial, _ in points}),
        "hypervolume": normalised_hypervolume(workspace, points),
        "best_accuracy": max((point.metrics["accuracy"] for _, point in points), default=None),
        "samples_behind_accuracy": len(workspace.splits.search),
        "seconds": workspace.run.seconds(),
    }
