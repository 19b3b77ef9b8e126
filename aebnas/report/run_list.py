"""`aebnas list`: the runs in a folder, from their small files. Imports no torch and reads no trials."""

import csv
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from aebnas.core.errors import UserError
from aebnas.core.metric_text import total_pflop, with_unit
from aebnas.core.metrics import ACCURACY, METRICS, Objective, leading_accuracy
from aebnas.core.pareto import knee
from aebnas.report.tables import print_table
from aebnas.run.locks import is_locked
from aebnas.strategies.strategy_spec import StrategySpec

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Listed:
    """A run in a list: its state, counts and best points, each a row of `pareto.csv` with values by metric.

    `cost` is the objective that `accuracy` (the leading one) is shown against, `max_trials` the maximum number of
    trials of the search, `changed` the time of its last change (seconds since the epoch). `reasons` say why a finished
    search has fewer trials than planned, or an empty front. `pflop` is the compute of all phases together, None where
    it isn't known. A damaged run has only `state` and `changed`.
    """

    folder: Path
    state: str
    changed: float
    trials: int = 0
    max_trials: int = 0
    front_points: int = 0
    hypervolume: float | None = None
    best: Mapping[str, Mapping[str, float]] | None = None
    cost: str = "avg_macs"
    accuracy: str = ACCURACY
    reasons: tuple[str, ...] = ()
    pflop: float | None = None


def list_runs(folder: Path) -> list[Listed]:
    """The runs in `folder`, last changed first; other folders are skipped, damaged runs are listed as damaged.

    Raises UserError if the folder doesn't exist.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: must be a folder of runs, but doesn't exist")
    runs = [listed(config.parent) for config in folder.glob("*/config.json")]
    return sorted(runs, key=lambda run: (-run.changed, run.folder))


def listed(folder: Path) -> Listed:
    """The run in a folder, from its small files."""
    changed = _changed(folder)
    try:
        experiment = json.loads((folder / "config.json").read_text(encoding="utf-8"))["experiment"]
        objectives = [Objective.parse(name) for name in experiment["objectives"]]
        summary = _json(folder / "summary.json")
        trials = _lines(folder / "trials.jsonl")
        strategy = StrategySpec.model_validate(experiment["strategy"])
        front = _front(folder / "pareto.csv")
        return Listed(
            folder,
            _state(folder, experiment, summary, trials),
            changed,
            trials,
            summary.get("max_trials") or strategy.evaluations,
            len(front),
            summary.get("hypervolume"),
            best_points(front, objectives) if front else None,
            next((o.metric for o in objectives if METRICS[o.metric].direction == "min"), "avg_macs"),
            leading_accuracy(objectives),
            tuple(filter(None, (summary.get("ended_early_because"), summary.get("nothing_feasible")))),
            total_pflop(summary.get("pflop", {})),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        return Listed(folder, f"damaged ({why})", changed)


def _changed(folder: Path) -> float:
    times = [0.0]
    for path in folder.iterdir():
        if not path.name.endswith(".lock"):
            with suppress(FileNotFoundError):  # an active run renames its unfinished files
                times.append(path.stat().st_mtime)
    return max(times)


def best_points(
    front: Sequence[Mapping[str, float]], objectives: Sequence[Objective]
) -> dict[str, Mapping[str, float]]:
    """The rows that `--pick` selects for best-accuracy, knee and, if a cost is an objective, cheapest."""
    values_pm = [[objective.minimised(row) for objective in objectives] for row in front]
    accuracy = leading_accuracy(objectives)
    best = {"best-accuracy": max(front, key=lambda row: row[accuracy]), "knee": front[knee(values_pm)]}
    cost = next((objective for objective in objectives if METRICS[objective.metric].direction == "min"), None)
    if cost is not None:
        best["cheapest"] = min(front, key=lambda row: (cost.minimised(row), -row[accuracy]))
    return best


def _state(folder: Path, experiment: Mapping[str, Any], summary: Mapping[str, Any], trials: int) -> str:
    # summaries of earlier versions lack `finished`, but their plot is written last
    if summary.get("finished", (folder / "pareto.png").exists()):
        retrained = any(map(is_locked, folder.glob("models/*/retrain.lock")))
        notes = [summary.get("ended_early"), _nothing_found(summary)]
        return "retraining" if retrained else ", ".join(["finished", *filter(None, notes)])
    trained = (folder / "checkpoints" / "supernet.safetensors").exists()
    searching = trials or trained or str(experiment["evaluate"]["weights"]).startswith("scratch")
    running = is_locked(folder / "run.lock")
    return f"{'running' if running else 'stopped'} in {'search' if searching else 'supernet'}"


def _nothing_found(summary: Mapping[str, Any]) -> str | None:
    if not summary.get("nothing_feasible"):
        return None
    return "all failed" if summary["failed"] == summary["trials"] else "nothing feasible"


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _lines(path: Path) -> int:
    """The number of complete lines; trials are counted, not parsed."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK_BYTES), b""))


def _front(path: Path) -> list[dict[str, float]]:
    """The metrics of a front's rows."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return [{name: float(row[name]) for name in METRICS if name in row} for row in csv.DictReader(handle)]


def age(seconds: float) -> str:
    """A time span as text, in its largest unit."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{int(seconds // length_s)} {unit}"
    return f"{max(0, int(seconds))} s"


def print_runs(runs: Sequence[Listed], now: float | None = None) -> None:
    """Print the table of `aebnas list`; `now` are seconds since the epoch (default: the present time)."""
    table = Table(title=f"{len(runs)} run{'' if len(runs) == 1 else 's'}")
    titles = ("run", "state", "trials", "front", "hypervolume", "best accuracy", "knee", "cheapest", "PFLOP", "changed")
    for name in titles:
        table.add_column(name, justify="left" if name in ("run", "state") else "right", no_wrap=name == "run")
    for run in runs:
        points = [
            f"{100 * row[run.accuracy]:.1f}% at {with_unit(run.cost, row[run.cost])}" if row else "-"
            for row in ((run.best or {}).get(name) for name in ("best-accuracy", "knee", "cheapest"))
        ]
        damaged = run.state.startswith("damaged")
        counts = ["-", "-"] if damaged else [f"{run.trials} of {run.max_trials}", str(run.front_points)]
        volume = "-" if run.hypervolume is None else f"{run.hypervolume:.4f}"
        ago = age((time.time() if now is None else now) - run.changed)
        spent = "-" if run.pflop is None else f"{run.pflop:.3g}"
        table.add_row(run.folder.name, run.state, *counts, volume, *points, spent, ago)
    print_table(table)
