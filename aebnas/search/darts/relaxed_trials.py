"""Relaxed trainings in a search: their jobs become jobs of discrete architectures, their results are recorded."""

from contextlib import suppress
from dataclasses import replace

import pandas as pd

from aebnas.core.atomic_files import write_json, write_text
from aebnas.core.errors import SpecError, UserError
from aebnas.evaluation.evaluator import RelaxedResult, Scored
from aebnas.evaluation.worker_pool import Failure, Outcome
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.weight_files import save_weights
from aebnas.space.architecture import Architecture
from aebnas.space.genome import Candidate, SearchSpace
from aebnas.strategies.strategy import AnyJob, Job


def resolve_trial(job: AnyJob, outcome: Outcome, space: SearchSpace) -> tuple[Job, Scored | Failure]:
    """The job of the architecture that a relaxed training resulted in, and its outcome.

    A failed relaxed training has no architecture; its trial names the largest one of the space instead.
    """
    if isinstance(job, Job):
        assert not isinstance(outcome, RelaxedResult)
        return job, outcome
    if isinstance(outcome, Failure):
        return Job(space.extreme(largest=True), None, job.origin), outcome
    assert isinstance(outcome, RelaxedResult)
    architecture, scored = outcome.forms[job.form]
    return Job(architecture, None, job.origin), scored


def record_relaxed(run: Run, name: str, outcome: RelaxedResult) -> None:
    """Write a relaxed network and its report to `relaxed/`, and all validation rows to `train_epoch_metrics.csv`."""
    save_weights(outcome.network, run.relaxed / f"{name}.safetensors")
    write_json(run.relaxed / f"{name}.json", outcome.report)
    (run.relaxed / f"{name}.pt").unlink(missing_ok=True)
    files = [path for path in sorted(run.relaxed.glob("*.csv")) if path.stat().st_size > 1]
    if files:
        rows = pd.concat([pd.read_csv(path) for path in files])
        write_text(run.folder / "train_epoch_metrics.csv", rows.to_csv(index=False, float_format="%.6g"))


def initial_genomes(session: RunSession) -> list[tuple[int, ...]]:
    """Genomes of the run that `strategy.init` names: of the architectures on its front that belong to this space.

    Raises UserError if the run doesn't exist, or none of its architectures belongs to this space.
    """
    folder = session.experiment.strategy.init_run
    if folder is None:
        return []
    path = session.base / folder.expanduser()
    try:
        other = RunSession.open(path)
    except UserError as error:
        raise SpecError("strategy.init", f"must name a run, but {error}", session.source) from None
    genomes = []
    for trial, point in other.front():
        plain = _without_stop_heads(trial.architecture)
        # genes don't encode temperatures, which are fitted for every network
        for policy in (None, replace(point.policy, temperatures=())):
            with suppress(ValueError):
                genomes.append(session.space.encode(Candidate(plain, policy)))
    if not genomes:
        rule = f"must name a run with an architecture of this space on its front, but {path} has none"
        raise SpecError("strategy.init", rule, session.source)
    return list(dict.fromkeys(genomes))


def _without_stop_heads(architecture: Architecture) -> Architecture:
    value = architecture.to_json()
    value.pop("stop_heads", None)
    return Architecture.from_json(value)
