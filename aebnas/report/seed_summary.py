"""What several seeds of one search gave together: means and standard deviations, a table, an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.metrics import Objective
from aebnas.report.front_plot import draw_fronts
from aebnas.report.tables import print_table, written
from aebnas.strategies.front import FrontPoint


@dataclass(frozen=True)
class OverSeeds:
    """Runs that differ in their seed alone.

    `fronts` and `hypervolumes` (see `report.growth`) are by seed; `picks` has a row for each seed and pick, with the
    front's figures (search split), and `test_accuracy` and `optimism` where the pick was evaluated; a seed whose front
    has no such point has no row. `samples` is the size of the search split.
    """

    folders: dict[int, Path]
    fronts: dict[int, list[FrontPoint]]
    hypervolumes: dict[int, float]
    picks: pd.DataFrame
    objectives: tuple[Objective, ...]
    samples: int

    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds."""
        metrics = [objective.metric for objective in self.objectives]
        told = list(dict.fromkeys(["accuracy", *metrics, "test_accuracy", "optimism"]))
        return {
            "seeds": list(self.folders),
            "runs": [folder.name for folder in self.folders.values()],
            "samples_behind_accuracy": self.samples,
            "hypervolume": mean_std(list(self.hypervolumes.values())),
            "front_points": mean_std([len(points) for points in self.fronts.values()]),
            "picks": {
                str(rule): {name: mean_std(rows[name].dropna().tolist()) for name in told if rows[name].notna().any()}
                for rule, rows in self.picks.groupby("pick", sort=False)
            },
        }


def mean_std(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1; None for fewer than two values), how many values, and the values."""
    series = pd.Series(values, dtype=float)
    std = float(series.std(ddof=1)) if len(series) > 1 else None
    return {"mean": float(series.mean()), "std": std, "n": len(series), "values": series.tolist()}


def write_seeds(seeds: OverSeeds, folder: Path) -> None:
    """Write `summary.json`, `seeds.csv` and `seeds.png`."""
    write_json(folder / "summary.json", seeds.summary())
    write_text(folder / "seeds.csv", seeds.picks.to_csv(index=False))
    fronts = {f"seed {seed}": points for seed, points in seeds.fronts.items()}
    title = f"{folder.name}: fronts of the search split (N = {seeds.samples:,})"
    draw_fronts(fronts, seeds.objectives, title, folder / "seeds.png")


def print_seeds(seeds: OverSeeds) -> None:
    """The table in the terminal: mean +- standard deviation over seeds."""
    summary = seeds.summary()
    title = f"Mean +- standard deviation over seeds {', '.join(map(str, seeds.folders))}"
    table = Table(title=f"{title}; accuracy on the search split (N = {seeds.samples:,})")
    costs = [objective.metric for objective in seeds.objectives if objective.metric != "accuracy"]
    for name in ("pick", "seeds", "accuracy", *costs, "test accuracy", "search minus test"):
        table.add_column(name, justify="left" if name == "pick" else "right", no_wrap=True)
    for rule, told in summary["picks"].items():
        shares = [_percent(told.get(name)) for name in ("accuracy", "test_accuracy", "optimism")]
        cells = [f"{written(name, told[name]['mean'])} +- {written(name, told[name]['std'] or 0)}" for name in costs]
        table.add_row(rule, str(told["accuracy"]["n"]), shares[0], *cells, *shares[1:])
    print_table(table)
    volume = summary["hypervolume"]
    print(
        f"hypervolume {volume['mean']:.4f} +- {volume['std']:.4f} ({', '.join(f'{v:.4f}' for v in volume['values'])})"
    )


def _percent(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "-"
    spread = "" if told["std"] is None else f" +- {100 * told['std']:.2f}"
    return f"{100 * told['mean']:.2f}{spread} %"
