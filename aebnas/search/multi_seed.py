"""`aebnas search --seeds`: the same search once for each seed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.core.notes import print_note
from aebnas.core.spec_base import updated
from aebnas.run.events import Listen, RunEvents
from aebnas.run.session import RunSession
from aebnas.search.empty_front import NothingFeasible
from aebnas.search.loop import run_plan
from aebnas.search.plan import Plan


def seeded_plans(plan: Plan, seeds: Sequence[int]) -> dict[int, Plan]:
    """The plan of each seed, with a folder of its own; raises UserError for a wrong seed or fewer than two different
    ones."""
    experiments = {seed: updated(plan.experiment, {"seed": seed}) for seed in seeds}
    if len(seeds) < 2 or len(experiments) < len(seeds):
        raise UserError(f"seeds must be two or more different whole numbers, but got {', '.join(map(str, seeds))}")
    return {
        seed: replace(plan, experiment=experiment, folder=plan.folder.with_name(f"{plan.folder.name}-seed{seed}"))
        for seed, experiment in experiments.items()
    }


def search_seeds(plans: Mapping[int, Plan], listen: Listen = RunEvents, verify: bool = False) -> dict[int, RunSession]:
    """Run (or resume) the search of each seed (see `seeded_plans`, `run_plan`); the splits stay the same.

    Returns the finished runs by seed; one in which nothing is feasible has an empty front, which is noted on standard
    error. Raises UserError as a single search does, and NothingFeasible where that holds for every seed.
    """
    runs, empty = {}, list[NothingFeasible]()
    for seed, plan in plans.items():
        try:
            runs[seed] = run_plan(plan, listen, verify)
        except NothingFeasible as error:
            print_note(f"seed {seed}: {error}")
            runs[seed] = RunSession.open(plan.folder)
            empty.append(error)
    if len(empty) == len(runs):
        raise empty[0]
    return runs


def seeds_folder(plan: Plan) -> Path:
    """The folder of the summary over all seeds."""
    return plan.folder.with_name(f"{plan.folder.name}-seeds")
