"""The front as files: `pareto.csv`, `pareto.json` and `summary.json`."""

from collections.abc import Sequence
from typing import Any, get_args

import pandas as pd

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.run.hypervolume import normalised_hypervolume
from aebnas.run.pick_records import picked_ids, read_record
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import Status, Trial

FIRST_COLUMNS = ("accuracy", "avg_macs", "avg_macs_taken_only", "params")


def write_front(facts: RunFacts, trials: Sequence[Trial], finished: bool = False) -> list[FrontPoint]:
    """Write the front of `trials` to `pareto.csv` and `pareto.json`, and `summary.json` with the state `finished`.

    Returns the front.
    """
    folder, points, samples = facts.folder, facts.front(trials), facts.samples
    write_text(folder / "pareto.csv", front_table(points, samples).to_csv(index=False))
    write_json(folder / "pareto.json", [_point_json(pair, samples) for pair in points])
    with facts.run.update_lock():  # a concurrent `evaluate` updates the summary, too
        write_json(folder / "summary.json", _summary(facts, trials, points) | {"finished": finished})
    return points


def _point_json(pair: FrontPoint, samples: int) -> dict[str, Any]:
    trial, point = pair
    bounds = accuracy_bounds(point.metrics, samples)
    return {"id": point.id, **point.to_json(), **bounds, "architecture": trial.architecture.to_json()}


def front_table(points: Sequence[FrontPoint], samples: int) -> pd.DataFrame:
    """A row per point, as in `pareto.csv`; accuracies have their 95 % interval, from `samples` images."""
    columns = None if points else ["id", *FIRST_COLUMNS]
    return pd.DataFrame([front_row(pair, samples) for pair in points], columns=columns)


def front_row(pair: FrontPoint, samples: int) -> dict[str, Any]:
    """One operating point as a flat row; lists by exit are joined by spaces."""
    trial, point = pair
    row: dict[str, Any] = {"id": point.id}
    row |= {name: point.metrics[name] for name in FIRST_COLUMNS}
    row |= accuracy_bounds(point.metrics, samples)
    row |= {name: value for name, value in point.metrics.items() if name not in FIRST_COLUMNS}
    row["criterion"] = point.policy.label
    row["thresholds"] = " ".join("never" if t is None else f"{t:.6g}" for t in point.policy.thresholds)
    row["exit_shares"] = " ".join(f"{share:.4f}" for share in point.exit_shares)
    row["exit_accuracy"] = " ".join("-" if a is None else f"{a:.4f}" for a in point.exit_accuracy)
    row["architecture"] = str(trial.architecture)
    return row


def record_optimism(run: Run) -> None:
    """Update `optimism` in `summary.json`, if that exists, from the records in `picks/`."""
    with run.update_lock():
        if (run.folder / "summary.json").exists():
            write_json(run.folder / "summary.json", run.read_json("summary.json") | {"optimism": _optimism(run)})


def _summary(facts: RunFacts, trials: Sequence[Trial], points: Sequence[FrontPoint]) -> dict[str, Any]:
    status = [trial.status for trial in trials]
    return {
        "trials": len(trials),
        **{name: status.count(name) for name in get_args(Status)},
        "not_evaluated": sum(trial.reason.startswith("not evaluated") for trial in trials),
        "operating_points": sum(len(trial.points) for trial in trials),
        "front_points": len(points),
        "front_architectures": len({trial.architecture.id for trial, _ in points}),
        "hypervolume": normalised_hypervolume(facts, points),
        "optimism": _optimism(facts.run),
        "best_accuracy": max((point.metrics["accuracy"] for _, point in points), default=None),
        "samples_behind_accuracy": facts.samples,
        "seconds": facts.run.seconds(),
    }


def _optimism(run: Run) -> list[dict[str, Any]]:
    """Search-split accuracy minus test accuracy of each evaluated pick, under the same weights and policy."""
    tests = [(name, read_record(run, name).get("test", {})) for name in picked_ids(run)]
    return [{"id": name, "source": test["source"], **test["optimism"]} for name, test in tests if "optimism" in test]
