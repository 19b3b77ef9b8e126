"""The Python API: the operations of the command line, with results as pandas data frames; exported by `aebnas`.

    run = aebnas.search("my.yaml")                 # or aebnas.open("results/my")
    run.front()                                    # a DataFrame, as pareto.csv
    picked = run.pick("knee").retrain()
    picked.evaluate()                              # a Series; reads the test set
    picked.export("exported/knee")

Errors that the user can correct are raised as `aebnas.UserError`, with a message of one line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from aebnas.core.errors import UserError
from aebnas.policies.threshold_search.goal import Goal
from aebnas.report.compare import compare_runs
from aebnas.report.run_report import RunReport
from aebnas.report.seed_summary import SeedSummary, check_seed_picks, summarise_seeds, write_seeds
from aebnas.run.checked_data import check_data
from aebnas.run.front_files import front_row, front_table
from aebnas.run.session import RunSession
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.search.loop import run_plan
from aebnas.search.multi_seed import search_seeds as run_seeds
from aebnas.search.multi_seed import seeded_plans, seeds_folder
from aebnas.search.plan import Plan, make_plan
from aebnas.search.starter.files import write_starter
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model
from aebnas.selected.sweep import sweep
from aebnas.space.architecture import Architecture
from aebnas.strategies.front import RULES, FrontPoint
from aebnas.strategies.trial import OperatingPoint

PathLike = str | Path
SpecLike = str | Path | Mapping[str, Any]
"""A spec's file, or its content as a mapping; relative paths in a mapping start at the working directory."""


def init(folder: PathLike, data: PathLike, *, budgets: Sequence[str] = (), force: bool = False) -> Path:
    """Look at own images and write `spec.yaml` and `space.yaml` that are scaled to them; returns the former's path.

    `data` is a folder of images, a CSV file of paths and labels or an .npz file, `budgets` are bounds such as
    `avg_macs=20e6`, and `force` replaces the two files. Raises UserError for files that are there, budgets that can't
    be met, and unusable data.
    """
    return write_starter(Path(folder), Path(data), budgets, force).spec_file


def search(
    spec: SpecLike,
    out: PathLike | None = None,
    *,
    ablation: str | None = None,
    deterministic: bool = False,
    verify: bool = False,
) -> "SearchRun":
    """Run a search, or resume it; `out` is its folder (default `results/<name of the file>`; required for a mapping).

    `ablation`, `deterministic` and `verify` as on the command line. Raises UserError for an invalid spec, images that
    are missing, don't fit the space or have changed since the run was started, a folder of another spec, and a search
    without a feasible trial.
    """
    plan = _plan(spec, out, ablation, deterministic)
    run_plan(plan, RunReport, verify)
    return SearchRun(plan.folder)


def search_seeds(
    spec: SpecLike,
    seeds: Sequence[int],
    out: PathLike | None = None,
    *,
    picks: Sequence[str] = (),
    test: bool = False,
    ablation: str | None = None,
    deterministic: bool = False,
    verify: bool = False,
) -> SeedSummary:
    """Run the search once for each seed, in `<out>-seed<seed>`, and write a summary over all seeds to `<out>-seeds`.

    `picks` are rules such as `avg_macs<=5e6` in addition to knee, best-accuracy and cheapest; `test` measures all of
    them on the test set. The result's `picks` is a DataFrame, its `summary()` returns means and standard deviations.
    Raises UserError as `search`, for fewer than two different seeds, and for picks that are not rules.
    """
    plan = _plan(spec, out, ablation, deterministic)
    plans = seeded_plans(plan, seeds)
    check_seed_picks(picks)
    rules = list(dict.fromkeys([*RULES, *picks]))
    runs = run_seeds(plans, RunReport, verify)
    if test:
        for session in runs.values():
            _evaluate_picks(session, rules)
    summary = summarise_seeds({seed: session.facts for seed, session in runs.items()}, rules)
    write_seeds(summary, seeds_folder(plan))
    return summary


def open_run(folder: PathLike, *, data: PathLike | None = None, verify: bool = False) -> "SearchRun":
    """An existing run, finished or not (`aebnas.open`).

    `data` is where its images lie now, if they were moved; `verify` compares contents of image files, too. Raises
    UserError if the folder isn't a run, and with either of these if the images aren't those of the run's start.
    """
    if data is not None or verify:
        check_data(Path(folder), None if data is None else Path(data), verify)
    return SearchRun(folder)


def compare(runs: "Sequence[SearchRun | PathLike]") -> pd.DataFrame:
    """A row per run: hypervolume under one reference point, and the share of its front that the others dominate.

    The reference point and warnings are in `DataFrame.attrs`. Raises UserError for fewer than two runs, an empty front,
    and runs with different objectives, data or devices.
    """
    comparison = compare_runs([run.folder if isinstance(run, SearchRun) else Path(run) for run in runs])
    table = comparison.table()
    table.attrs |= {"reference": comparison.reference, "warnings": list(comparison.warnings)}
    return table


class SearchRun:
    """A run's folder; every call reads the present state from disk."""

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        self._session = RunSession.open(self.folder)

    def __repr__(self) -> str:
        return f"SearchRun({str(self.folder)!r})"

    def front(self) -> pd.DataFrame:
        """The Pareto front so far, sorted by the first objective, best first; columns as in `pareto.csv`."""
        return front_table(self._session.front(), self._session.facts.samples)

    def trials(self) -> pd.DataFrame:
        """A row per operating point of each trial, in the order of trials; a trial without points has one row.

        Columns: `trial`, `status`, `origin`, `seconds`, `pflop`, `reason`, `on_front`, then those of `front`.
        """
        on_front = {point.id for _, point in self._session.front()}
        rows, samples = [], self._session.facts.samples
        for trial in self._session.run.recorded():
            about: dict[str, Any] = {"trial": trial.number, "status": trial.status, "origin": trial.origin}
            about |= {"seconds": trial.seconds, "pflop": trial.pflop, "reason": trial.reason}
            for point in trial.points:
                row = front_row((trial, point), samples)
                rows.append(about | {"on_front": point.id in on_front} | row)
            if not trial.points:
                rows.append(about | {"on_front": False, "architecture": str(trial.architecture)})
        return pd.DataFrame(rows)

    def metrics(self) -> pd.DataFrame:
        """Validations of the supernet's training, one row each; empty if there are none."""
        path = self.folder / "train_epoch_metrics.csv"
        return pd.read_csv(path) if path.exists() else pd.DataFrame()

    @property
    def summary(self) -> dict[str, Any]:
        """`summary.json`: counts, hypervolume, seconds, PFLOP, optimism of the picks; raises UserError if it can't be
        read."""
        return self._session.run.read_json("summary.json")

    def pick(self, rule: str = "knee") -> "Picked":
        """One point of the front by id, `knee`, `best-accuracy`, `cheapest` or a rule.

        A rule such as `avg_macs<=5e6` selects the most accurate point that satisfies it (the cheapest, for a rule that
        bounds accuracy), for any order of the objectives. Raises UserError if no point matches.
        """
        return Picked(self, self._session.pick(rule))


class Picked:
    """A point of a run's front: an architecture under a policy. `retrain` and `calibrate` change weights and policy."""

    def __init__(self, run: SearchRun, picked: FrontPoint) -> None:
        self.run = run
        self._picked = picked
        self.architecture: Architecture = picked[0].architecture

    def __repr__(self) -> str:
        accuracy, macs = self.metrics["accuracy"], self.metrics["avg_macs"]
        return f"Picked({self.id!r}, accuracy {accuracy:.4f}, {macs:,.0f} average MACs)"

    @property
    def id(self) -> str:
        """The id on the front; retraining doesn't change it."""
        return self._picked[1].id

    @property
    def policy(self) -> ExitPolicy:
        """The exit policy in force."""
        return self._point.policy

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the search split, under the present weights and policy."""
        return dict(self._point.metrics)

    def retrain(self, *, weights: Literal["supernet", "scratch"] | None = None, epochs: int | None = None) -> "Picked":
        """Train the architecture separately and find its thresholds again; returns itself.

        `weights` and `epochs` override the spec's `retrain`. Raises UserError for settings out of range, missing
        weights, and a run in use.
        """
        retrain(self.run.folder, self.id, weights, epochs, RunReport)
        return self

    def sweep(self, methods: Sequence[str] = ("auto",)) -> pd.DataFrame:
        """All nondominated policies found on `calibrate` by each method: metrics there and on the search split.

        Also written to `picks/`, with a plot. Raises UserError for an unknown method.
        """
        return sweep(self.run.folder, self.id, tuple(methods), listen=RunReport).table

    def calibrate(
        self,
        *,
        accuracy_target: float | None = None,
        budget: str | None = None,
        beta: float | None = None,
        risk: tuple[float, float] | None = None,
        method: str | None = None,
    ) -> "Picked":
        """Put the best policy for one goal in force, with a temperature per exit; returns itself.

        The goal is exactly one of: an accuracy, a budget such as `avg_macs=8e6`, a trade-off `beta`, or (epsilon,
        delta) of a bound on the risk. `method` as on the command line. Raises UserError for none or several goals, and
        as `selected.calibrate.calibrate`.
        """
        promise = None if risk is None else f"{risk[0]},{risk[1]}"
        goal = Goal.read(accuracy_target, budget, beta, promise)
        calibrate(self.run.folder, self.id, goal, method, listen=RunReport)
        return self

    def evaluate(self) -> "pd.Series[Any]":
        """Measure it on the test set, which no other method reads.

        Returns all metrics, `accuracy_low` and `accuracy_high` (95 %), `samples`, `source` (of weights and policy), and
        the optimism of the search split: `search_accuracy`, `difference` with its interval.
        """
        assessed = evaluate(self.run.folder, self.id, listen=RunReport)
        record = assessed.to_json()
        figures = assessed.point.metrics | {name: record[name] for name in ("accuracy_low", "accuracy_high", "samples")}
        optimism = {k: v for k, v in assessed.optimism.items() if not k.startswith("test_")}
        return pd.Series({"source": assessed.source, **figures, **optimism}, name=self.id, dtype=object)

    def export(self, out: PathLike) -> Path:
        """Write it as a folder that runs without aebnas; returns the folder. Raises UserError if `out` holds anything
        but an export, or a weight is not finite."""
        export(self.run.folder, self.id, Path(out))
        return Path(out)

    def network(self) -> Network:
        """The torch module with its weights, in evaluation mode, for normalised images `x_nchw`.

        A call returns the logits `[n, c]` of every exit; its `infer(x_nchw, picked.policy)` stops early.
        """
        return load_selected_model(self.run._session, self.id).network

    @property
    def _point(self) -> OperatingPoint:
        """The operating point of its present weights under the policy in force."""
        return self.run._session.selected_state(self._picked).point


def _evaluate_picks(session: RunSession, rules: Sequence[str]) -> None:
    """Measure the points that the rules select on the test set, unless that was done with their present weights and
    policy."""
    for rule in rules:
        try:
            picked = session.pick(rule)
        except UserError:  # no point of this front satisfies the rule
            continue
        if session.valid_record(picked, "test") is None:
            evaluate(session.run.folder, picked[1].id, listen=RunReport)


def _plan(spec: SpecLike, out: PathLike | None, ablation: str | None, deterministic: bool) -> Plan:
    folder = None if out is None else Path(out)
    if not isinstance(spec, Mapping):
        return make_plan(Path(spec), folder, ablation, deterministic)
    if folder is None:
        raise UserError("out: is required when the spec is a mapping, but got None")
    return make_plan(Path("spec"), folder, ablation, deterministic, spec)
