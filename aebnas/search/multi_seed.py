"""`aebnas search --seeds`: the same search once for each seed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.core.spec_base import updated
from aebnas.run.events import Listen, RunEvents
from aebnas.run.session import RunSession
from aebnas.search.loop import run_plan
from aebnas.search.plan import Plan


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise UserError for fewer than two different seeds; the spec's rule for a seed is checked by `search_seeds`."""
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        got = ", ".join(map(str, seeds))
        raise UserError(f"seeds must be two or more different whole numbers, but got {got}")


def search_seeds(plan: Plan, seeds: Sequence[int], listen: Listen = RunEvents) -> dict[int, RunSession]:
    """Run (or resume) the search once for each seed, in `<folder>-seed<seed>`; all seeds share the splits.

    Returns the finished runs by seed. Raises UserError as `run_plan` and as `check_seeds`.
    """
    check_seeds(seeds)
    experiments = {seed: updated(plan.experiment, {"seed": seed}) for seed in seeds}
    runs = {}
    for seed, experiment in experiments.items():
        folder = plan.folder.with_name(f"{plan.folder.name}-seed{seed}")
        runs[seed] = run_plan(replace(plan, experiment=experiment, folder=folder), listen)
    return runs


def seeds_folder(plan: Plan) -> Path:
    """The folder of the summary over all seeds."""
    return plan.folder.with_name(f"{plan.folder.name}-seeds")
