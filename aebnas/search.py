"""The main verb: train the supernet, then ask, evaluate, tell and record until the strategy is done."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aebnas.cost.bounds import Measure, space_bounds
from aebnas.errors import UserError
from aebnas.evaluate.points import failed_trial, hopeless, hopeless_trial, make_trial
from aebnas.evaluate.pool import Outcome, Pool, open_pool
from aebnas.experiment import ExperimentSpec
from aebnas.front import front
from aebnas.nn.supernet import Supernet
from aebnas.objectives import Constraint
from aebnas.progress import Bar, progress_bar
from aebnas.report.environment import write_environment
from aebnas.report.results import write_front, write_report
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec
from aebnas.specfile import read_spec
from aebnas.store import Run
from aebnas.strategies.base import Job
from aebnas.strategies.build import make_strategy
from aebnas.train.loop import fit, write_rows
from aebnas.train.losses import exit_weights
from aebnas.train.sandwich import SandwichTask
from aebnas.trial import Trial
from aebnas.workspace import Workspace, load_weights, save_weights

TABLES_KEPT = 1000
"""Exit tables kept for candidates that differ in policy only."""


def run_search(spec_file: Path, out: Path | None = None) -> Workspace:
    """Run (or go on with) the search that a YAML file describes, in `out` or `results/<name of the file>`.

    Raises UserError for anything the user can mend: bad specs, data that don't fit, budgets below the space's
    minimum, a run that was started with another spec.
    """
    experiment = read_spec(ExperimentSpec, spec_file)
    space = SearchSpace.load(spec_file.parent / experiment.space.expanduser())
    check_budgets(space.spec, experiment.parsed_constraints(), str(spec_file))
    folder = out or Path("results") / spec_file.stem
    base = spec_file.parent
    workspace = Workspace(Run(folder), experiment, space, base)
    # what doesn't fit must not leave a run behind, nor show hours later
    _ = workspace.splits, workspace.class_names()
    for training in (experiment.supernet, experiment.retrain):
        exit_weights(training.exit_weights, space.extreme(largest=True))
    run = Run.start(folder, Workspace.config(experiment, space, base, folder))
    with run.locked():
        run.drop_torn_line()
        write_environment(workspace)
        with run.timed("supernet"):
            supernet = _supernet(workspace)
        evaluator = workspace.evaluator(supernet)
        with run.timed("search"), open_pool(evaluator, experiment.evaluate.workers, experiment.ray) as pool:
            _Search(workspace, pool).loop()
        write_report(workspace)
    return workspace


MEASURES: dict[str, Measure] = {
    "macs": lambda counts: counts.macs,
    "params": lambda counts: counts.params,
    "weight_bytes": lambda counts: counts.weight_bytes,
}


def check_budgets(spec: SpaceSpec, constraints: Sequence[Constraint], source: str) -> None:
    """Raise UserError where no architecture of the space can meet a constraint, from the space's exact bounds."""
    for constraint in constraints:
        metric = constraint.metric
        average = metric.startswith("avg_")
        measure = MEASURES.get("macs" if average else metric)
        if measure is None:
            continue
        bounds = space_bounds(spec, measure)
        least = bounds.first_exit if average else bounds.lower
        most = bounds.upper
        if constraint.sense == "<=" and constraint.bound < least:
            raise UserError(
                f"{source}: constraints: '{constraint}' cannot be met: the least {metric} in this space is {least:,}"
            )
        if constraint.sense == ">=" and constraint.bound > most:
            raise UserError(
                f"{source}: constraints: '{constraint}' cannot be met: the greatest {metric} in this space is {most:,}"
            )


def _supernet(workspace: Workspace) -> Supernet:
    """The trained supernet: loaded when it is there, else trained from where its checkpoint stands."""
    run, experiment = workspace.run, workspace.experiment
    supernet = workspace.new_supernet()
    if run.supernet_weights.exists():
        load_weights(supernet, run.supernet_weights)
        return supernet
    spec = experiment.supernet
    supernet = supernet.to(workspace.device)
    calibration = [x.to(workspace.device) for x in workspace.calibration(experiment.evaluate.calibration_images)]
    validation, preprocessing = workspace.splits.search, workspace.preprocessing
    trained = fit(
        SandwichTask(supernet, workspace.space, spec, validation, preprocessing, calibration),
        workspace.training_batches(spec.batch_size),
        spec,
        experiment.seed,
        "supernet",
        run.checkpoints / "supernet.pt",
        lambda rows: write_rows(run.folder / "train_epoch_metrics.csv", rows),
    )
    save_weights(trained, run.supernet_weights)
    supernet = workspace.new_supernet()  # scoring is done on the CPU, from the weights that lie on disk
    load_weights(supernet, run.supernet_weights)
    (run.checkpoints / "supernet.pt").unlink()
    return supernet


class _Search:
    """The loop. Trials recorded in an earlier sitting are told again instead of being evaluated again."""

    def __init__(self, workspace: Workspace, pool: Pool) -> None:
        self.workspace, self.pool, self.run = workspace, pool, workspace.run
        experiment = workspace.experiment
        self.constraints = experiment.parsed_constraints()
        self.objectives = experiment.parsed_objectives()
        self.strategy = make_strategy(
            experiment.strategy,
            workspace.space,
            self.objectives,
            self.constraints,
            experiment.parsed_target(),
            np.random.default_rng(experiment.seed),
        )
        self.recorded = {trial.number: trial for trial in self.run.trials()}
        self.trials: list[Trial] = []
        self.tables: dict[str, Outcome] = {}

    def loop(self) -> None:
        """Until the strategy asks for nothing more."""
        total = self.workspace.experiment.strategy.evaluations
        with progress_bar("search", total) as bar:
            while jobs := self.strategy.ask():
                first = len(self.trials)
                self.trials += self._generation(dict(enumerate(jobs, start=first)), bar)
                self.strategy.tell(self.trials[first:])
                write_front(self.workspace, self.trials)
        if not front(self.trials, self.objectives, self.constraints):
            raise UserError(_why_empty(self.trials, self.run.folder))

    def _generation(self, jobs: dict[int, Job], bar: Bar) -> list[Trial]:
        """Trials of a generation's jobs (by trial number) in the order asked, each recorded when it is known."""
        done: dict[int, Trial] = {}
        waiting: dict[str, list[int]] = {}  # architecture id -> numbers: what differs in policy is scored once

        def finish(trial: Trial, is_new: bool = True) -> None:
            done[trial.number] = trial
            if is_new:
                self.run.append(trial)
            bar.advance(note=_tally([*self.trials, *done.values()]))

        for number, job in jobs.items():
            if number in self.recorded:
                finish(self._recorded(number, job), is_new=False)
            elif why := hopeless(job, self.constraints):
                finish(hopeless_trial(number, job, *why))
            else:
                waiting.setdefault(job.architecture.id, []).append(number)
        for known in [architecture_id for architecture_id in waiting if architecture_id in self.tables]:
            for number in waiting.pop(known):
                finish(self._trial(number, jobs[number], self.tables[known], 0.0))
        started = time.monotonic()
        groups = list(waiting.values())
        for place, outcome in self.pool.score([jobs[numbers[0]].architecture for numbers in groups]):
            seconds, started = time.monotonic() - started, time.monotonic()
            for number in groups[place]:
                self._keep(jobs[number], outcome)
                finish(self._trial(number, jobs[number], outcome, seconds))
        return [done[number] for number in jobs]

    def _recorded(self, number: int, job: Job) -> Trial:
        trial = self.recorded[number]
        if (trial.architecture.id, trial.policy) != job.key:
            raise UserError(
                f"{self.run.trials_file}: trial {number} is not the one this search asks for; "
                "it was made by another version; give --out another folder"
            )
        return trial

    def _trial(self, number: int, job: Job, outcome: Outcome, seconds: float) -> Trial:
        try:
            return make_trial(number, job, outcome, self.workspace.space.spec.policy, self.constraints, seconds)
        except ValueError as error:
            return failed_trial(number, job, f"{type(error).__name__}: {error}", seconds)

    def _keep(self, job: Job, outcome: Outcome) -> None:
        """Keep tables for later candidates that differ in policy only."""
        if job.policy is not None:
            self.tables[job.architecture.id] = outcome
            while len(self.tables) > TABLES_KEPT:
                self.tables.pop(next(iter(self.tables)))


def _tally(trials: Sequence[Trial]) -> str:
    status = [trial.status for trial in trials]
    return f"{status.count('ok')} ok, {status.count('infeasible')} infeasible, {status.count('failed')} failed"


def _why_empty(trials: Sequence[Trial], folder: Path) -> str:
    """One line on a search that found nothing feasible."""
    reasons = [trial.reason for trial in trials if trial.reason]
    common = max(set(reasons), key=reasons.count) if reasons else "no trial was made"
    return f"{folder}: no trial of {len(trials)} is on the front; the commonest reason: {common}"
