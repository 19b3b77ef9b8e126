"""The front as files: `pareto.csv`, `pareto.json`, `summary.json`, and what is drawn from them."""

from collections.abc import Sequence
from typing import Any, get_args

import pandas as pd

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.report.html import write_html
from aebnas.report.hypervolume import normalised_hypervolume
from aebnas.report.run_state import search_samples
from aebnas.report.search_plot import plot_front
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.selected.selected_model import read_pick
from aebnas.strategies.front import FrontPoint, front
from aebnas.strategies.trial import Status, Trial

FIRST_COLUMNS = ("accuracy", "avg_macs", "avg_macs_taken_only", "params")


def write_front(session: RunSession, trials: Sequence[Trial], finished: bool = False) -> list[FrontPoint]:
    """Write the front of `trials` to `pareto.csv` and `pareto.json`, and `summary.json`, which says if all is done."""
    experiment, folder = session.experiment, session.run.folder
    points = front(trials, experiment.parsed_objectives(), experiment.parsed_constraints())
    samples = search_samples(session.run)
    write_text(folder / "pareto.csv", front_table(points, samples).to_csv(index=False))
    write_json(folder / "pareto.json", [_point_json(pair, samples) for pair in points])
    with session.run.noting():  # an evaluation that ends now adds to the summary, too
        write_json(folder / "summary.json", _summary(session, trials, points) | {"finished": finished})
    return points


def write_report(session: RunSession) -> None:
    """Write everything that is drawn: `pareto.png` and `report.html`, from the trials on disk."""
    trials = session.run.trials()
    points = write_front(session, trials, finished=True)
    plot_front(session, trials, points)
    write_html(session, trials, points)


def rewrite_html(session: RunSession) -> None:
    """Bring `report.html` up to what is known of the picks now."""
    with session.run.noting():  # others may be retraining other picks
        write_html(session, session.run.trials(), session.front())


def _point_json(pair: FrontPoint, samples: int) -> dict[str, Any]:
    trial, point = pair
    bounds = accuracy_bounds(point.metrics, samples)
    return {"id": point.id, **point.to_json(), **bounds, "architecture": trial.architecture.to_json()}


def front_table(points: Sequence[FrontPoint], samples: int) -> pd.DataFrame:
    """A row for each point, as in `pareto.csv`; accuracies with their interval, from `samples` images."""
    columns = None if points else ["id", *FIRST_COLUMNS]
    return pd.DataFrame([front_row(pair, samples) for pair in points], columns=columns)


def front_row(pair: FrontPoint, samples: int) -> dict[str, Any]:
    """One operating point as a flat row, numbers for exits from 1."""
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


def note_optimism(run: Run) -> None:
    """Bring the picks' `optimism` in `summary.json` up to what `picks/` says."""
    with run.noting():
        if (run.folder / "summary.json").exists():
            write_json(run.folder / "summary.json", run.read_json("summary.json") | {"optimism": _optimism(run)})


def _summary(session: RunSession, trials: Sequence[Trial], points: Sequence[FrontPoint]) -> dict[str, Any]:
    status = [trial.status for trial in trials]
    return {
        "trials": len(trials),
        **{name: status.count(name) for name in get_args(Status)},
        "not_evaluated": sum(trial.reason.startswith("not evaluated") for trial in trials),
        "operating_points": sum(len(trial.points) for trial in trials),
        "front_points": len(points),
        "front_architectures": len({trial.architecture.id for trial, _ in points}),
        "hypervolume": normalised_hypervolume(session, points),
        "optimism": _optimism(session.run),
        "best_accuracy": max((point.metrics["accuracy"] for _, point in points), default=None),
        "samples_behind_accuracy": search_samples(session.run),
        "seconds": session.run.seconds(),
    }


def _optimism(run: Run) -> list[dict[str, Any]]:
    """Search-split accuracy minus test accuracy of each pick that was evaluated, under the same weights and policy."""
    tests = [(path.stem, read_pick(run, path.stem).get("test", {})) for path in sorted(run.folder.glob("picks/*.json"))]
    return [{"id": name, "source": test["source"], **test["optimism"]} for name, test in tests if "optimism" in test]
