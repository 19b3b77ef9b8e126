"""The results of one search over several seeds: means and standard deviations, a table, a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.core.errors import UserError
from aebnas.core.metric_text import with_unit
from aebnas.core.metrics import Constraint, Objective
from aebnas.report.front_plot import draw_fronts
from aebnas.report.tables import print_table
from aebnas.run.hypervolume import normalised_hypervolume
from aebnas.run.run_facts import RunFacts
from aebnas.run.selected_state import valid_record
from aebnas.strategies.front import RULES, FrontPoint, pick


@dataclass(frozen=True)
class SeedSummary:
    """Runs that differ only in their seed.

    `fronts` and `hypervolumes` (see `run.hypervolume`) are keyed by seed. `picks` has a row per seed and pick, with the
    metrics on the search split, and `test_accuracy` and `optimism` if the pick was evaluated; a seed without a point
    that satisfies the rule has no row. `samples` is the size of the search split.
    """

    folders: dict[int, Path]
    fronts: dict[int, list[FrontPoint]]
    hypervolumes: dict[int, float]
    picks: pd.DataFrame
    objectives: tuple[Objective, ...]
    samples: int

    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`."""
        metrics = [objective.metric for objective in self.objectives]
        names = list(dict.fromkeys(["accuracy", *metrics, "test_accuracy", "optimism"]))
        return {
            "seeds": list(self.folders),
            "runs": [folder.name for folder in self.folders.values()],
            "samples_behind_accuracy": self.samples,
            "hypervolume": mean_std(list(self.hypervolumes.values())),
            "front_points": mean_std([len(points) for points in self.fronts.values()]),
            "picks": {
                str(rule): {name: mean_std(rows[name].dropna().tolist()) for name in names if rows[name].notna().any()}
                for rule, rows in self.picks.groupby("pick", sort=False)
            },
        }


def check_seed_picks(picks: Sequence[str]) -> None:
    """Raise UserError for a pick that is valid in one run only, such as a point's id, and for an invalid rule."""
    for rule in picks:
        if rule not in RULES and "<" not in rule and ">" not in rule:
            allowed = f"{', '.join(RULES)} or a rule such as 'avg_macs<=5e6'"
            raise UserError(f"a pick over several seeds must be {allowed}, but got '{rule}'")
        if rule not in RULES:
            Constraint.parse(rule)


def summarise_seeds(runs: Mapping[int, RunFacts], rules: Sequence[str]) -> SeedSummary:
    """The summary of finished runs (by seed), with the points that `rules` select and their test accuracies."""
    fronts = {seed: run.front() for seed, run in runs.items()}
    rows = [
        {"seed": seed} | row
        for seed, run in runs.items()
        for rule in rules
        if (row := _pick_row(run, fronts[seed], rule))
    ]
    first = next(iter(runs.values()))
    return SeedSummary(
        folders={seed: run.folder for seed, run in runs.items()},
        fronts=fronts,
        hypervolumes={seed: normalised_hypervolume(run, fronts[seed]) for seed, run in runs.items()},
        picks=pd.DataFrame(rows),
        objectives=first.objectives,
        samples=first.samples,
    )


def _pick_row(run: RunFacts, points: Sequence[FrontPoint], rule: str) -> dict[str, Any]:
    """The metrics of a pick; empty if no point of the front satisfies the rule."""
    try:
        picked = pick(points, run.objectives, rule)
    except UserError:
        return {}
    point, test = picked[1], valid_record(run.run, run.scored, picked, "test") or {}
    row = {"pick": rule, "id": point.id, **point.metrics}
    row |= accuracy_bounds(point.metrics, run.samples)
    row["test_weights"], row["test_samples"] = test.get("source"), test.get("samples")
    row["test_accuracy"] = test["metrics"]["accuracy"] if test else None
    row["optimism"] = test.get("optimism", {}).get("difference")
    return row


def mean_std(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (with n - 1; None for fewer than two values), number of values, and the values."""
    series = pd.Series(values, dtype=float)
    std = float(series.std(ddof=1)) if len(series) > 1 else None
    return {"mean": float(series.mean()), "std": std, "n": len(series), "values": series.tolist()}


def write_seeds(seeds: SeedSummary, folder: Path) -> None:
    """Write `summary.json`, `seeds.csv` and `seeds.png`."""
    write_json(folder / "summary.json", seeds.summary())
    write_text(folder / "seeds.csv", seeds.picks.to_csv(index=False))
    fronts = {f"seed {seed}": points for seed, points in seeds.fronts.items()}
    title = f"{folder.name}: fronts on the search split (N = {seeds.samples:,})"
    draw_fronts(fronts, seeds.objectives, title, folder / "seeds.png")


def print_seeds(seeds: SeedSummary) -> None:
    """Print the table: mean +- standard deviation over seeds."""
    summary = seeds.summary()
    title = f"Mean +- standard deviation over seeds {', '.join(map(str, seeds.folders))}"
    table = Table(title=f"{title}; accuracy on the search split (N = {seeds.samples:,})")
    others = [objective.metric for objective in seeds.objectives if objective.metric != "accuracy"]
    for name in ("pick", "seeds", "accuracy", *others, "test accuracy", "search minus test"):
        table.add_column(name, justify="left" if name == "pick" else "right", no_wrap=True)
    for rule, row in summary["picks"].items():
        shares = [_percent(row.get(name)) for name in ("accuracy", "test_accuracy", "optimism")]
        cells = [f"{with_unit(name, row[name]['mean'])} +- {with_unit(name, row[name]['std'] or 0)}" for name in others]
        table.add_row(rule, str(row["accuracy"]["n"]), shares[0], *cells, *shares[1:])
    print_table(table)
    volume = summary["hypervolume"]
    print(
        f"hypervolume {volume['mean']:.4f} +- {volume['std']:.4f} ({', '.join(f'{v:.4f}' for v in volume['values'])})"
    )


def _percent(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    spread = "" if row["std"] is None else f" +- {100 * row['std']:.2f}"
    return f"{100 * row['mean']:.2f}{spread} %"
