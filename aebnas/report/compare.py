"""`aebnas compare`: the fronts of several runs in one plot, with hypervolumes under one reference point."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from aebnas.core.atomic_files import write_text
from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.core.errors import UserError
from aebnas.core.metric_text import with_unit
from aebnas.core.metrics import METRICS, Objective
from aebnas.core.pareto import hypervolume, share_dominated
from aebnas.cost.latency.network_profile import check_same
from aebnas.report.front_plot import draw_fronts
from aebnas.report.tables import interval, print_table
from aebnas.run.front_files import why_empty
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.front import FrontPoint, minimised

LONGEST_NAME = 80


@dataclass(frozen=True)
class Comparison:
    """Fronts of runs with the same objectives on the same data.

    `reference` holds the worst value of each metric: an accuracy of 0, and for each cost the maximum over the runs'
    spaces. `hypervolumes [r]` are shares of the box between it and an accuracy of 1 at a cost of 0.
    `dominated [r, r]` is the share of the row's front that the column's front dominates, `dominated_by_any [r]` the
    share that the fronts of all other runs dominate. `samples [r]` is the size of the search split. `warnings` list
    differences that limit the comparison.
    """

    fronts: dict[str, list[FrontPoint]]
    objectives: tuple[Objective, ...]
    samples: tuple[int, ...]
    reference: dict[str, float]
    hypervolumes: tuple[float, ...]
    dominated: np.ndarray
    dominated_by_any: tuple[float, ...]
    warnings: tuple[str, ...]

    @property
    def default_name(self) -> str:
        """The default name of the folder of table and plot."""
        names = [Path(name).name for name in self.fronts]
        joined = "-".join(["compare", *names])
        return joined if len(joined) <= LONGEST_NAME else f"compare-{names[0][:40]}-and-{len(names) - 1}-more"

    def table(self) -> pd.DataFrame:
        """A row per run, as in `compare.csv`."""
        rows = []
        for index, (name, points) in enumerate(self.fronts.items()):
            row: dict[str, Any] = {"run": name, "front_points": len(points), "hypervolume": self.hypervolumes[index]}
            for objective in self.objectives:
                best = min((point.metrics for _, point in points), key=objective.minimised)
                row[f"best_{objective.metric}"] = best[objective.metric]
                if objective.metric == "accuracy":
                    row |= {f"best_{k}": v for k, v in accuracy_bounds(best, self.samples[index]).items()}
            row["samples_behind_accuracy"] = self.samples[index]
            row["dominated_by_any"] = self.dominated_by_any[index]
            row |= {f"dominated_by_{other}": self.dominated[index, j] for j, other in enumerate(self.fronts)}
            rows.append(row)
        return pd.DataFrame(rows)


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Compare the fronts of two or more runs.

    Raises UserError for fewer than two runs, equal runs, different objectives, data sets or devices, and a run with an
    empty front.
    """
    if len(folders) < 2:
        raise UserError(f"compare: must be given two or more runs, but got {len(folders)}")
    runs = dict(zip(_names(folders), map(RunFacts.read, folders), strict=True))
    objectives = _shared_objectives(runs)
    _check_data(runs)
    _check_devices(runs, objectives)
    fronts = {name: run.front() for name, run in runs.items()}
    for name, points in fronts.items():
        if not points:
            empty = why_empty(runs[name].run) or "its front has no points yet"
            raise UserError(f"{name}: must have a front to be compared, but {empty}")
    worst = {
        objective.metric: max(run.max_costs.get(objective.metric, 0.0) for run in runs.values())
        for objective in objectives
    }
    best_m = np.array([-1.0 if METRICS[objective.metric].direction == "max" else 0.0 for objective in objectives])
    worst_m = np.array([objective.minimised(worst) for objective in objectives])
    scaled = [(minimised(points, objectives) - best_m) / (worst_m - best_m) for points in fronts.values()]
    others = [np.concatenate([*scaled[:index], *scaled[index + 1 :]]) for index in range(len(scaled))]
    return Comparison(
        fronts=fronts,
        objectives=objectives,
        samples=tuple(run.samples for run in runs.values()),
        reference=worst,
        hypervolumes=tuple(hypervolume(points_pm, np.ones(len(objectives))) for points_pm in scaled),
        dominated=np.array([[share_dominated(a_pm, b_pm) for b_pm in scaled] for a_pm in scaled]),
        dominated_by_any=tuple(share_dominated(a_pm, b_pm) for a_pm, b_pm in zip(scaled, others, strict=True)),
        warnings=tuple(_warnings(runs)),
    )


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write `compare.csv` and `compare.png`."""
    write_text(folder / "compare.csv", comparison.table().to_csv(index=False))
    title = "Fronts on the search split" + (f" (N = {n:,})" if (n := _only(comparison.samples)) else "")
    draw_fronts(comparison.fronts, comparison.objectives, title, folder / "compare.png")


def print_comparison(comparison: Comparison) -> None:
    """Print the table; warnings go to standard error."""
    for warning in comparison.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    names = list(comparison.fronts)
    table = Table(title="Fronts on the search split; the right columns give the share of a front that is dominated")
    table.add_column("run", overflow="fold")
    best = [f"best {objective.metric}" for objective in comparison.objectives]
    short = names if len(names) <= 4 else []
    for name in ("points", "hypervolume", *best, "by any other", *(f"by {name}" for name in short)):
        table.add_column(name, justify="right", overflow="fold")
    for index, row in enumerate(comparison.table().to_dict("records")):
        shares = [comparison.dominated_by_any[index], *(comparison.dominated[index] if short else [])]
        figures = [_figure(objective, row, comparison.samples[index]) for objective in comparison.objectives]
        cells = [f"{share:.0%}" if place != index + 1 else "" for place, share in enumerate(shares)]
        table.add_row(row["run"], str(row["front_points"]), f"{row['hypervolume']:.4f}", *figures, *cells)
    print_table(table)
    reference = ", ".join(f"{metric} {_reference(metric, value)}" for metric, value in comparison.reference.items())
    print(f"hypervolume: share of the box from the reference point ({reference}) to accuracy 1 at cost 0")


def _figure(objective: Objective, row: dict[Any, Any], samples: int) -> str:
    value = row[f"best_{objective.metric}"]
    return (
        f"{value:.2%} {interval(value, samples)}"
        if objective.metric == "accuracy"
        else with_unit(objective.metric, value)
    )


def _reference(metric: str, value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, or their paths as given if two names are equal; raises UserError if two paths are equal."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [folder.as_posix() for folder in folders]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise UserError(f"compare: must be given different runs, but got {repeated} {names.count(repeated)} times")
    return names


def _shared_objectives(runs: Mapping[str, RunFacts]) -> tuple[Objective, ...]:
    objectives = {name: run.objectives for name, run in runs.items()}
    if len({frozenset(each) for each in objectives.values()}) > 1:
        each = "; ".join(f"{name}: {', '.join(o.metric for o in these)}" for name, these in objectives.items())
        raise UserError(f"compare: runs must have the same objectives, but got {each}")
    return next(iter(runs.values())).objectives


def _check_data(runs: Mapping[str, RunFacts]) -> None:
    """Raise UserError if source, shape or classes of the data differ; the images are not read."""
    data = {name: run.input_text for name, run in runs.items()}
    if len(set(data.values())) > 1:
        each = "; ".join(f"{name}: {text}" for name, text in data.items())
        raise UserError(f"compare: runs must have the same data, but got {each}")


def _check_devices(runs: Mapping[str, RunFacts], objectives: Sequence[Objective]) -> None:
    """Raise UserError if latencies or energies were predicted for different devices or settings."""
    if any(METRICS[objective.metric].by_device for objective in objectives):
        profiles = [run.profile for run in runs.values()]
        check_same([profile for profile in profiles if profile is not None])


def _warnings(runs: Mapping[str, RunFacts]) -> list[str]:
    """Differences that limit the comparison: splits, training images, origins of weights."""
    facts = {
        "the search split has": {name: f"{run.samples:,} images" for name, run in runs.items()},
        "networks were trained on": {name: f"{run.images['train']:,} images" for name, run in runs.items()},
        "splits were cut with": {name: f"seed {run.split_seed}" for name, run in runs.items()},
        "candidates' weights were": {name: run.scored.origin for name, run in runs.items()},
    }
    warnings = []
    for what, values in facts.items():
        if len(set(values.values())) > 1:
            by_value = sorted((value, name) for name, value in values.items())
            groups = groupby(by_value, key=lambda pair: pair[0])
            each = "; ".join(f"{value} in {', '.join(name for _, name in pairs)}" for value, pairs in groups)
            warnings.append(f"{what} {each}")
    return warnings


def _only(values: Sequence[int]) -> int | None:
    return values[0] if len(set(values)) == 1 else None
