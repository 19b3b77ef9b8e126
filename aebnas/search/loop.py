"""The search loop: train the supernet, then ask, evaluate, tell and record until the strategy is done."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aebnas.core.errors import SpecError, UserError
from aebnas.core.metrics import Constraint, tuned_accuracy, tuned_cost
from aebnas.core.notes import print_note
from aebnas.core.progress import Bar, progress_bar
from aebnas.core.ray_cluster import LOCAL
from aebnas.cost.bounds.memory_bounds import min_peak_memory
from aebnas.data.splits import read_held
from aebnas.evaluation.darts.relaxed_training import Relaxation
from aebnas.evaluation.evaluator import RelaxedResult, Scored, Work
from aebnas.evaluation.operating_points import failed_trial, make_trial, provably_infeasible, pruned_trial
from aebnas.evaluation.worker_pool import Failure, Outcome, Pool, open_pool
from aebnas.export.folder import ops_left_behind
from aebnas.policies.calibration.calibrated_tables import Tables
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.checked_data import record_data, save_place, session_of_spec
from aebnas.run.environment import write_environment
from aebnas.run.events import Listen, RunEvents
from aebnas.run.front_files import FrontFiles
from aebnas.run.norm_statistics import keep_norm_statistics
from aebnas.run.run_config import RunConfig, config_with_defaults
from aebnas.run.run_directory import PLACES, Run
from aebnas.run.session import RunSession
from aebnas.run.training_setup import repeatable
from aebnas.run.weight_files import candidate_weights, delete_other_weights, save_weights
from aebnas.runtime.ops import OPS
from aebnas.search.compute_bound import ComputeBound
from aebnas.search.darts.relaxed_trials import initial_genomes, record_relaxed, resolve_trial
from aebnas.search.empty_front import EmptyFrontReason, NothingFeasible, check_not_empty
from aebnas.search.plan import UNSATISFIABLE, Plan, make_plan
from aebnas.search.supernet_training import load_or_train
from aebnas.space.layers import space_layers
from aebnas.space.spec import SpaceSpec
from aebnas.strategies.build import make_strategy
from aebnas.strategies.job_count import size_note
from aebnas.strategies.strategy import AnyJob, Job, RelaxedJob
from aebnas.strategies.trial import Trial

TABLES_KEPT = 1000
"""Maximum number of cached exit tables, for candidates that differ only in their policy."""


def run_search(
    spec_file: Path, out: Path | None = None, ablation: str | None = None, listen: Listen = RunEvents
) -> RunSession:
    """Run (or resume) the search that a YAML file describes; see `make_plan` for arguments, `run_plan` for errors."""
    return run_plan(make_plan(spec_file, out, ablation), listen)


def run_plan(plan: Plan, listen: Listen = RunEvents, verify: bool = False) -> RunSession:
    """Run (or resume) a planned search; `listen` makes the listener of its events.

    `verify` records the contents of image files, however large, and compares them when a search is resumed. Raises
    UserError if the images don't fit the space or have changed since the start, the memory bound is infeasible, no GPU
    is available, the run was started with another spec or is in use, or training fails; and NothingFeasible, with the
    run finished, if no trial is feasible.
    """
    spec_file, experiment, space, folder, base = plan.spec_file, plan.experiment, plan.space, plan.folder, plan.base
    session = session_of_spec(Run(folder), experiment, space, base, spec_file, verify)
    # check before the run folder is created and before hours of training
    evaluate = experiment.evaluate
    is_local = evaluate.workers == 0 or experiment.ray == LOCAL
    if evaluate.gpus_per_worker and is_local and not torch.cuda.is_available():
        rule = f"must be 0, since no GPU is available, but got {evaluate.gpus_per_worker:g}"
        raise SpecError("evaluate.gpus_per_worker", rule, spec_file)
    check_memory(space.spec, experiment.parsed_constraints(), spec_file)
    read_held(session.images.splits)
    if session.data_record is None:  # else that was done when the run was started
        session.images.verify_test()
    config = RunConfig(experiment, space, base).to_json(folder, plan.profile)
    run = Run.start(folder, config, config_with_defaults, () if session.data_record is None else PLACES)
    size = size_note(experiment.strategy, space.spec, experiment.parsed_target())
    for note in [*session.images.notes(), *_export_notes(space.spec), *([] if size is None else [size])]:
        print_note(note)
    if plan.profile is not None and not run.profile_file.exists():
        plan.profile.save(run.profile_file)
    _run_to_end(session, listen)
    return session


def _export_notes(spec: SpaceSpec) -> list[str]:
    """What will keep `aebnas export` from taking along what the search finds."""
    if not ops_left_behind(OPS):
        return []
    ops = ops_left_behind(layer.op for layer in space_layers(spec))
    return [f"op '{op}' isn't defined in aebnas/runtime: networks that have it can't be exported" for op in ops]


def check_memory(spec: SpaceSpec, constraints: Sequence[Constraint], source: Path) -> None:
    """Raise SpecError if no architecture of the space can satisfy a constraint on memory."""
    for number, constraint in enumerate(constraints):
        if (constraint.metric, constraint.sense) == ("peak_memory_bytes", "<="):
            minimum = min_peak_memory(spec)
            if constraint.bound < minimum:
                limit = f"minimum peak_memory_bytes is {minimum:,}"
                text = f"{UNSATISFIABLE} '{constraint}' ({limit})"
                raise SpecError(f"constraints.{number}", text, source)


def resume_search(folder: Path, listen: Listen = RunEvents) -> RunSession:
    """Resume the search of a run from its `config.json`; raises UserError if the folder isn't a run, and as
    `run_plan`."""
    session = RunSession.open(folder)
    _run_to_end(session, listen)
    return session


def _run_to_end(session: RunSession, listen: Listen) -> None:
    """Continue a run from its present state to its final front."""
    run, experiment = session.run, session.experiment
    evaluate = experiment.evaluate
    with run.locked(), repeatable(session.experiment):
        run.recover()
        check_not_empty(session, listen)
        record_data(session)
        save_place(session)
        write_environment(session)
        with listen(session.facts) as events:
            supernet = None
            if experiment.supernet is not None and experiment.trains_supernet:
                with run.timed("supernet"):
                    supernet = load_or_train(session, experiment.supernet, events)
            evaluator = candidate_evaluator(session, supernet)
            with (
                run.timed("search"),
                open_pool(evaluator, evaluate.workers, experiment.ray, evaluate.gpus_per_worker) as pool,
            ):
                search = _Search(session, pool, events)
                search.loop()
                keep_norm_statistics(session, supernet, search.files.front.points)
            empty = search.finish()
            events.search_finished()
    if empty is not None:
        raise NothingFeasible(run.folder, empty)


class _Search:
    """The loop. Trials recorded in an earlier session are passed to the strategy without evaluating them again."""

    def __init__(self, session: RunSession, pool: Pool, events: RunEvents) -> None:
        self.session, self.pool, self.events, self.run = session, pool, events, session.run
        experiment = session.experiment
        self.constraints = experiment.parsed_constraints()
        self.objectives, self.target = experiment.parsed_objectives(), experiment.parsed_target()
        self.costs = session.candidate_cost_model
        self.strategy = make_strategy(
            experiment.strategy,
            session.space,
            self.objectives,
            self.constraints,
            self.target,
            np.random.default_rng(experiment.seed),
            initial_genomes(session),
        )
        self.recorded = self.run.recorded()
        self.count = 0  # of trials that the strategy has proposed
        self.files = FrontFiles(session.facts, self.strategy.max_jobs)
        self.reason = EmptyFrontReason()
        self.tables: dict[str, Tables | Failure] = {}
        self.counted: set[str] = set()  # ids of architectures whose tables are in the cache, or were before a kill
        self.sharing: Counter[str] = Counter()  # work id -> recorded trials of the generation that shared it
        self.bound = ComputeBound(experiment.evaluate.max_pflop)

    def loop(self) -> None:
        """Run until the strategy returns no more jobs, or the bound of compute is reached.

        The front's files are written after each generation with a new trial: while trials of an earlier session are
        replayed, those on disk hold more trials.
        """
        self.events.search_started()
        with progress_bar("search", self.strategy.max_jobs) as bar:
            while not self.bound.reached and (jobs := self.strategy.ask()):
                numbers = range(self.count, self.count + len(jobs))
                is_new = not all(map(self.recorded.has, numbers))
                trials = self._generation(dict(zip(numbers, jobs, strict=True)), bar)
                self.count += len(jobs)
                if len(trials) == len(jobs):  # else the bound was reached, and no other generation follows
                    self.strategy.tell(trials)
                self._add(trials)
                self._note_counted(trials)
                if is_new:
                    self.files.write()
                    self._drop_weights()

    def finish(self) -> str | None:
        """Write the final front. Returns why it is empty; None if it isn't."""
        # those that another version's strategy proposed
        self._add(self.recorded.since(self.count))
        trials, planned = self.files.counts["trials"], self.session.experiment.strategy.evaluations
        cut_off = self.bound.reached and trials < self.strategy.max_jobs
        shortfall = self.bound.shortfall() if cut_off else self.strategy.shortfall()
        if shortfall is not None:
            print_note(f"{trials:,} of {planned:,} planned trials: {shortfall.sentence}")
        empty = None if self.files.front.points else self.reason.text()
        self._drop_weights()  # a kill may have come before those of the last new generation were deleted
        self.files.write(finished=True, ended_early=shortfall, nothing_feasible=empty)
        return empty

    def _add(self, trials: Iterable[Trial]) -> None:
        self.files.add(map(self.reason.add, trials))

    def _generation(self, jobs: dict[int, AnyJob], bar: Bar) -> list[Trial]:
        """Trials of a generation's jobs (by trial number) in their order, each recorded as soon as it is finished.

        Jobs that remain when the bound of compute is reached have none.
        """
        done: dict[int, Trial] = {}
        waiting: dict[str, list[int]] = {}  # work id -> trial numbers: jobs that differ in policy or form share work
        work: dict[str, Work] = {}

        def finish(trial: Trial, is_new: bool = True) -> None:
            done[trial.number] = trial
            self.bound.add(trial)
            if is_new:
                self.run.append(trial)
            bar.advance(note=self.events.trial_finished(trial, is_new), earlier=not is_new)

        self.sharing.clear()
        new = {n: job for n, job in jobs.items() if isinstance(job, Job) and not self.recorded.has(n)}
        reasons = dict(zip(new, provably_infeasible(list(new.values()), self.constraints, self.costs), strict=True))
        for number, job in jobs.items():
            if self.recorded.has(number):
                trial = self._recorded(number, job)
                finish(trial, is_new=False)
                name = job.architecture.id if isinstance(job, Job) else Relaxation(job.weight).id
                self.sharing[name] += not trial.pruned
            elif isinstance(job, RelaxedJob):
                relaxation = Relaxation(job.weight)
                work[relaxation.id] = relaxation
                waiting.setdefault(relaxation.id, []).append(number)
            elif why := reasons.get(number):
                finish(pruned_trial(number, job, *why))
            else:
                work[job.architecture.id] = job.architecture
                waiting.setdefault(job.architecture.id, []).append(number)
        for known in [architecture_id for architecture_id in waiting if architecture_id in self.tables]:
            for number in waiting.pop(known):
                job = jobs[number]
                assert isinstance(job, Job), "tables are cached by architecture"
                finish(self._trial(number, job, self.tables[known], 0.0, 0.0))
        while waiting and not self.bound.reached:
            waiting = self._score(jobs, waiting, work, finish)
        return [done[number] for number in jobs if number in done]

    def _score(
        self,
        jobs: dict[int, AnyJob],
        waiting: dict[str, list[int]],
        work: dict[str, Work],
        finish: Callable[[Trial], None],
    ) -> dict[str, list[int]]:
        """Do the waiting work and finish its trials. Returns work to be repeated: a transient failure fails one trial
        only, and the work is done again for the other trials that share it.

        Seconds and PFLOP of shared work are divided equally among its trials, so that they add up to what was spent.
        """
        again: dict[str, list[int]] = {}
        started = time.monotonic()
        groups = list(waiting.items())
        for place, outcome in self.bound.in_order(self.pool.score([work[name] for name, _ in groups])):
            seconds, started = time.monotonic() - started, time.monotonic()
            name, numbers = groups[place]
            if isinstance(outcome, Failure) and outcome.transient and len(numbers) > 1:
                numbers, again[name] = numbers[:1], numbers[1:]
            pflop = self._share(name, outcome, len(numbers))
            if isinstance(outcome, RelaxedResult):
                record_relaxed(self.run, name, outcome)
            for number in numbers:
                job, scored = resolve_trial(jobs[number], outcome, self.session.space)
                if isinstance(scored, Scored) and scored.network is not None:  # on disk before a trial that needs it
                    save_weights(scored.network, candidate_weights(self.run, job.architecture.id))
                tables = scored.tables if isinstance(scored, Scored) else scored
                self._cache(job, tables)
                finish(self._trial(number, job, tables, seconds / len(numbers), pflop))
            if self.bound.reached:
                break
        return again

    def _note_counted(self, trials: Iterable[Trial]) -> None:
        """Note whose tables were made: those that a session without kills has in its cache aren't counted again."""
        scored = (t for t in trials if t.policy is not None and not t.pruned and t.status != "failed")
        self.counted.update(trial.architecture.id for trial in scored)
        if self._drops_weights:
            self.counted &= {trial.architecture.id for trial, _ in self.files.front.points}

    def _share(self, name: str, outcome: Outcome, trials: int) -> float | None:
        """PFLOP of each of a number of trials that share work; what a kill lost is done again, but counted once."""
        if name in self.counted:
            return 0.0
        return None if outcome.pflop is None else outcome.pflop / (trials + self.sharing[name])

    def _recorded(self, number: int, job: AnyJob) -> Trial:
        trial = self.recorded.numbered(number)
        if not job.is_job_of(trial):
            raise UserError(
                f"{self.run.trials_file}: trial {number} must be the one that the strategy proposes, but differs, "
                "since another version made it; give --out another folder"
            )
        return trial

    def _trial(self, number: int, job: Job, outcome: Tables | Failure, seconds: float, pflop: float | None) -> Trial:
        space = self.session.space.spec
        try:
            cost, accuracy = tuned_cost(self.objectives), tuned_accuracy(self.objectives)
            trial = make_trial(
                number, job, outcome, space, self.constraints, self.target, seconds, cost, self.costs, accuracy
            )
        except ValueError as error:
            trial = failed_trial(number, job, f"{type(error).__name__}: {error}", seconds)
        return replace(trial, pflop=pflop)

    @property
    def _drops_weights(self) -> bool:
        experiment = self.session.experiment  # relaxed searches have few candidates
        return experiment.candidate_training is not None and not experiment.trains_relaxed

    def _drop_weights(self) -> None:
        """Delete the weights of separately trained candidates that are not on the front.

        Their cached tables are deleted too, so that under another policy they are trained again, with equal results.
        """
        if not self._drops_weights:
            return
        on_front = {trial.architecture.id for trial, _ in self.files.front.points}
        for dropped in delete_other_weights(self.run, on_front):
            self.tables.pop(dropped, None)

    def _cache(self, job: Job, outcome: Tables | Failure) -> None:
        """Cache tables, or a permanent failure, for later candidates that differ only in their policy."""
        if job.policy is not None and not (isinstance(outcome, Failure) and outcome.transient):
            self.tables[job.architecture.id] = outcome
            while len(self.tables) > TABLES_KEPT:
                self.tables.pop(next(iter(self.tables)))
