"""The front as files: `pareto.csv`, `pareto.json` and `summary.json`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import pandas as pd

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.run.hypervolume import normalised_hypervolume
from aebnas.run.pick_records import picked_ids, read_record
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.front_archive import FrontArchive, FrontPoint
from aebnas.strategies.strategy import Shortfall
from aebnas.strategies.trial import Status, Trial

FIRST_COLUMNS = ("accuracy", "avg_macs", "avg_macs_taken_only", "params")


class FrontFiles:
    """Writes the front files of a run to which trials are added; its cost doesn't grow with their number.

    `max_trials` is the maximum number of trials that the search can have, None where that isn't known.
    """

    def __init__(self, facts: RunFacts, max_trials: int | None = None) -> None:
        self.facts, self.max_trials = facts, max_trials
        self.front = FrontArchive(facts.objectives, facts.constraints)
        self.counts = dict.fromkeys(("trials", *get_args(Status), "not_evaluated", "operating_points"), 0)
        self.pflop: float | None = 0.0
        """Compute of all trials; None where it isn't known of each."""
        self._points: list[FrontPoint] | None = None  # those in the files
        self._hypervolume = 0.0

    def add(self, trials: Iterable[Trial]) -> None:
        """Add trials, each once, in any order."""

        def counted(trial: Trial) -> Trial:
            self.counts["trials"] += 1
            self.counts[trial.status] += 1
            self.counts["not_evaluated"] += trial.pruned
            self.counts["operating_points"] += len(trial.points)
            self.pflop = None if self.pflop is None or trial.pflop is None else self.pflop + trial.pflop
            return trial

        self.front.add(map(counted, trials))

    def write(
        self, finished: bool = False, ended_early: Shortfall | None = None, nothing_feasible: str | None = None
    ) -> None:
        """Write the front to `pareto.csv` and `pareto.json`, where it differs from what was written last, and
        `summary.json` with the state of the search: whether it is `finished`, why it had fewer trials than planned, and
        why its front is empty."""
        folder, points, samples = self.facts.folder, self.front.points, self.facts.samples
        if points != self._points:
            write_text(folder / "pareto.csv", front_table(points, samples).to_csv(index=False))
            write_json(folder / "pareto.json", [_point_json(pair, samples) for pair in points])
            self._points, self._hypervolume = points, normalised_hypervolume(self.facts, points)
        state = {
            "finished": finished,
            "max_trials": self.max_trials,
            "ended_early": None if ended_early is None else ended_early.state,
            "ended_early_because": None if ended_early is None else ended_early.sentence,
            "nothing_feasible": nothing_feasible,
        }
        self.facts.run.record_pflop("search", self.pflop)
        with self.facts.run.update_lock():  # a concurrent `evaluate` updates the summary, too
            write_json(folder / "summary.json", self._summary(points) | state)

    def _summary(self, points: Sequence[FrontPoint]) -> dict[str, Any]:
        return {
            **self.counts,
            "front_points": len(points),
            "front_architectures": len({trial.architecture.id for trial, _ in points}),
            "hypervolume": self._hypervolume,
            "optimism": _optimism(self.facts.run),
            "best_accuracy": max((point.metrics["accuracy"] for _, point in points), default=None),
            "samples_behind_accuracy": self.facts.samples,
            **_spent(self.facts.run),
        }


def why_empty(run: Run) -> str | None:
    """Why the finished search of a run has an empty front, in one line; None if it has none, or isn't finished."""
    return run.summary().get("nothing_feasible")


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
    _update_summary(run, lambda: {"optimism": _optimism(run)})


def record_spent(run: Run) -> None:
    """Update `seconds` and `pflop` in `summary.json`, if that exists, after a retraining."""
    _update_summary(run, lambda: _spent(run))


def _update_summary(run: Run, read: Callable[[], dict[str, Any]]) -> None:
    with run.update_lock():
        if summary := run.summary():
            write_json(run.folder / "summary.json", summary | read())


def _spent(run: Run) -> dict[str, Any]:
    return {"seconds": run.seconds(), "pflop": run.pflop()}


def _optimism(run: Run) -> list[dict[str, Any]]:
    """Search-split accuracy minus test accuracy of each evaluated pick, under the same weights and policy."""
    tests = [(name, read_record(run, name).get("test", {})) for name in picked_ids(run)]
    return [{"id": name, "source": test["source"], **test["optimism"]} for name, test in tests if "optimism" in test]
