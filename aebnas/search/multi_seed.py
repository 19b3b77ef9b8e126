"""`aebnas search --seeds`: one run for each seed, and what they gave together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.core.errors import UserError
from aebnas.core.metrics import Constraint
from aebnas.core.spec_base import updated
from aebnas.report.hypervolume import normalised_hypervolume
from aebnas.report.run_state import search_samples
from aebnas.report.seed_summary import OverSeeds, write_seeds
from aebnas.run.session import RunSession
from aebnas.search.loop import run_plan
from aebnas.search.plan import Plan
from aebnas.selected.evaluate import evaluate, known_test
from aebnas.strategies.front import RULES


def check_seeds(seeds: Sequence[int], picks: Sequence[str]) -> None:
    """Raise UserError for fewer than two different seeds, or a pick that means nothing in more than one run."""
    if len(seeds) < 2 or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"seeds must be two or more different whole numbers, but got {', '.join(map(str, seeds))}")
    for rule in picks:
        if rule not in RULES and "<" not in rule and ">" not in rule:
            allowed = f"{', '.join(RULES)} or a rule such as 'avg_macs<=5e6'"
            raise UserError(f"pick over several seeds must be {allowed}, but got '{rule}'")
        if rule not in RULES:
            Constraint.parse(rule)


def search_seeds(plan: Plan, seeds: Sequence[int], picks: Sequence[str] = (), test: bool = False) -> OverSeeds:
    """Run (or go on with) the search once for each seed, in `<folder>-seed<seed>`; the splits stay the same.

    Picks are knee, best-accuracy, cheapest and those of `picks` (rules such as `avg_macs<=5e6`); with `test` each is
    measured on the test set. What they gave together is written to `<folder>-seeds`. Raises UserError as a single
    search does and as `check_seeds`.
    """
    experiments = {seed: updated(plan.experiment, {"seed": seed}) for seed in seeds}
    check_seeds(seeds, picks)
    rules = list(dict.fromkeys([*RULES, *picks]))
    folders = {seed: plan.folder.with_name(f"{plan.folder.name}-seed{seed}") for seed in seeds}
    fronts, hypervolumes, rows, samples = {}, {}, [], 0
    for seed, folder in folders.items():
        session = run_plan(replace(plan, experiment=experiments[seed], folder=folder))
        fronts[seed] = session.front()
        hypervolumes[seed] = normalised_hypervolume(session, fronts[seed])
        samples = search_samples(session.run)
        rows += [row | {"seed": seed} for rule in rules if (row := _row(session, rule, test))]
    table = pd.DataFrame(rows)
    table.insert(0, "seed", table.pop("seed"))
    result = OverSeeds(folders, fronts, hypervolumes, table, tuple(plan.experiment.parsed_objectives()), samples)
    write_seeds(result, seeds_folder(plan))
    return result


def seeds_folder(plan: Plan) -> Path:
    """Where what the seeds gave together lies."""
    return plan.folder.with_name(f"{plan.folder.name}-seeds")


def _row(session: RunSession, rule: str, test: bool) -> dict[str, Any]:
    """A pick's figures; empty where no point of the front keeps a rule."""
    try:
        picked = session.pick(rule)
    except UserError:
        return {}
    point = picked[1]
    if test and known_test(session, picked) is None:
        evaluate(session.run.folder, point.id)
    known = known_test(session, picked) or {}
    row = {"pick": rule, "id": point.id, **point.metrics}
    row |= accuracy_bounds(point.metrics, search_samples(session.run))
    row["test_weights"], row["test_samples"] = known.get("source"), known.get("samples")
    row["test_accuracy"] = known["metrics"]["accuracy"] if known else None
    row["optimism"] = known.get("optimism", {}).get("difference")
    return row
