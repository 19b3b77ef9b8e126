"""`aebnas calibrate DIR --data new.npz`: new temperatures and thresholds of an export, found on labelled images.

The run that it was exported from isn't needed. The rules searched are those that every command on the run searches,
which the export records. Minimum depth and difficulty are unchanged; coefficients, by exit or class, are dropped.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from aebnas.core.errors import UserError
from aebnas.core.metrics import ACCURACY, METRICS
from aebnas.core.progress import progress_bar
from aebnas.core.spec_base import parse_spec
from aebnas.cost.model import COUNTS
from aebnas.data.arrays.labelled_arrays import load_labelled
from aebnas.data.image_set import ImageSet
from aebnas.export.folder import export_model
from aebnas.export.read_folder import Exported, read_export
from aebnas.policies.calibration.reliability import exit_reliability
from aebnas.policies.calibration.risk_control import RiskPromise
from aebnas.policies.calibration.temperature import fit_temperatures
from aebnas.policies.calibration.tuning import Rules, tune
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import PolicyScore, score_policy
from aebnas.policies.exit_table.recorded_logits import RecordedLogits
from aebnas.policies.exit_table.sample_costs import table_costs
from aebnas.policies.exit_table.tabulate import record_logits, with_difficulty_of
from aebnas.policies.threshold_search.dart import DartSetting
from aebnas.policies.threshold_search.find import rules_for
from aebnas.policies.threshold_search.goal import Goal
from aebnas.policies.threshold_search.min_exit import min_exits_of
from aebnas.runtime.exit_criteria import LEARNED
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import Patience, StopHeads
from aebnas.runtime.threshold_rules import DifficultyOffset
from aebnas.space.policy_spec import DUAL, PATIENCE, OptimiseSpec, PolicySpec

SPLIT_SEED = 2026
SHARES = {False: (0.7, 0.0), True: (0.4, 0.4)}
"""Shares of the images for finding thresholds and for certifying them, without and with a promise; the rest is for
evaluation."""
MIN_PART_IMAGES = 50
"""Minimum number of images in a part: with fewer, thresholds are noise."""


@dataclass(frozen=True)
class Retuned:
    """The result of re-tuning: figures under the policy `before` and `after` on `samples` images that weren't used for
    it; `found_on` is the number of images that thresholds were found on."""

    goal: Goal
    policy: ExitPolicy
    before: PolicyScore
    after: PolicyScore
    samples: int
    found_on: int
    promise: RiskPromise | None
    notes: tuple[str, ...]


def retune(folder: Path, data: Path, goal: Goal, per_exit: int = 50, temperatures: bool = True) -> Retuned:
    """Find an export's policy for a goal on the images of `data` (`x`, `y`) and write the folder again.

    Raises UserError for a folder or data that can't be used; the folder is then unchanged.
    """
    exported = read_export(folder)
    network, old = exported.network, exported.policy
    images = load_labelled(data, exported.preprocessing.shape, exported.class_names)
    costs = COUNTS.exit_costs([network.graph])[0]
    if goal.cost not in costs:
        raise UserError(f"--budget must bound the mean of {', '.join(costs)}, but got '{goal.cost}'")
    parts = _cut(data, images, goal.risk is not None)
    recorded = record_logits(network, images, exported.preprocessing, progress_bar)
    tuning = recorded.rows(parts["tune"])
    fitted = fit_temperatures(tuning.logits_nec.numpy(), tuning.labels_n.numpy()) if temperatures else ()

    def table(name: str, divisors: tuple[float, ...]) -> ExitTable:
        return _table(exported, recorded, images, parts[name], divisors)

    tune_table = table("tune", fitted)
    rules = _rules(folder, exported, tune_table, goal.cost, per_exit)
    finder = rules.find
    offset = old.find(DifficultyOffset)
    if offset is not None and offset.beta_diff:
        finder = partial(rules.find_dart, DartSetting(offset.difficulty, offset.beta_diff, 0.0))
    tuned = tune(goal, finder, tune_table, table("certify", fitted) if goal.risk else None)
    before = score_policy(table("evaluate", old.temperatures), old)
    divisors = tuned.policy.temperatures
    after = score_policy(table("evaluate", divisors), tuned.policy)
    evaluated = len(parts["evaluate"])
    exit_ece, exit_ece_before = (
        tuple(found.ece for found in exit_reliability(table("evaluate", values))) for values in (divisors, ())
    )
    facts = dataclasses.replace(
        exported.facts,
        split="held-out",
        samples=evaluated,
        measured_on=data.name,
        metrics=_metrics(exported, after),
        exit_shares=after.exit_shares,
        exit_accuracy=after.exit_accuracy,
        exit_ece=exit_ece,
        exit_ece_before=exit_ece_before,
        thresholds=f"Found on {len(parts['tune']):,} images of {data.name}: thresholds for {goal}.",
        promise=None if tuned.promise is None else tuned.promise.to_json(),
    )
    export_model(folder, network, tuned.policy, exported.preprocessing, exported.class_names, exported.samples, facts)
    notes = tuple(filter(None, (goal.missed(tuned.found),)))
    return Retuned(goal, tuned.policy, before, after, evaluated, len(parts["tune"]), tuned.promise, notes)


def recorded_rules(space: PolicySpec) -> dict[str, Any]:
    """The rules of a space that an export records (see `CardFacts.rules`); minimum depth is in the policy itself."""
    method = (space.thresholds.optimise or OptimiseSpec()).method
    return space.model_dump(mode="json", include={"criterion", "patience", "stop_thresholds"}) | {"method": method}


def _rules(folder: Path, exported: Exported, table: ExitTable, cost: str, per_exit: int) -> Rules:
    """The rules that the export records, for its network (see `rules_for`); where it has none, those of its policy."""
    policy = exported.policy
    depth = min_exits_of(policy)
    if exported.facts.rules is None:
        return Rules(_own_rule(policy), OptimiseSpec(per_exit=per_exit), depth, cost)
    given = dict(exported.facts.rules)
    method = {"method": given.pop("method", "auto"), "per_exit": per_exit}
    card = folder / "card.json"
    spec = parse_spec(PolicySpec, given, card, "rules")
    optimise = parse_spec(OptimiseSpec, method, card, "rules")
    return Rules(rules_for(spec, stop_heads=table.has_stop_heads), optimise, depth, cost)


def _own_rule(policy: ExitPolicy) -> PolicySpec:
    if (patience := policy.find(Patience)) is not None:
        return PolicySpec(criterion=(PATIENCE,), patience=(patience.exits,))
    return PolicySpec(criterion=(policy.criterion if policy.find(StopHeads) is None else DUAL,))


def _cut(data: Path, images: ImageSet, certifies: bool) -> dict[str, torch.Tensor]:
    """Indices of the parts, drawn with a fixed seed; raises UserError where a part is too small."""
    tune_share, certify_share = SHARES[certifies]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    first = round(tune_share * len(images))
    second = first + round(certify_share * len(images))
    parts = {"tune": order[:first], "certify": order[first:second], "evaluate": order[second:]}
    smallest = min(len(part) for name, part in parts.items() if certifies or name != "certify")
    if smallest < MIN_PART_IMAGES:
        rule = f"must hold enough images that each part of them has {MIN_PART_IMAGES}"
        raise UserError(f"{data}: x: {rule}, but got {len(images)}, of which a part has {smallest}")
    return parts


def _table(
    exported: Exported, recorded: RecordedLogits, images: ImageSet, rows: torch.Tensor, temperatures: tuple[float, ...]
) -> ExitTable:
    part = recorded.rows(rows)
    scores = ["confidence", "entropy", "margin"] + ([] if part.stop_logits_nk is None else [LEARNED])
    costs = table_costs(COUNTS, exported.network.graph, part.chosen)
    table = part.table(scores, costs, temperatures=temperatures)
    difficulty = exported.policy.difficulty
    return table if difficulty is None else with_difficulty_of(table, difficulty, images.subset(rows))


def _metrics(exported: Exported, after: PolicyScore) -> dict[str, float]:
    """The card's metrics: those measured again, and those that depend only on the graph."""
    static = {name: value for name, value in exported.facts.metrics.items() if METRICS[name].static}
    macs = {"avg_macs": after.avg_macs, "avg_macs_taken_only": after.avg_macs_taken_only}
    return {ACCURACY: after.accuracy} | macs | after.class_metrics | static
