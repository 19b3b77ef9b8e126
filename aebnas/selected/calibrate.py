"""`aebnas calibrate RUN`: temperatures and thresholds of a selected model for a goal, from outputs recorded in the run.

Legend: e exits, b bins.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.core.errors import UserError
from aebnas.core.metrics import ACCURACY
from aebnas.data.splits import CALIBRATE, SEARCH
from aebnas.evaluation.operating_points import operating_point
from aebnas.policies.calibration.exit_summary import ExitSummary, summarise_exits
from aebnas.policies.calibration.reliability import Reliability, exit_reliability, policy_reliability
from aebnas.policies.calibration.temperature import fit_temperatures
from aebnas.policies.calibration.tuning import DART, Finder, Rules, Tuned, changed_optimise, tune
from aebnas.policies.exit_table.difficulty_fit import estimator_latency_ms, fit_difficulty, raw_terms
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.find import METHODS
from aebnas.policies.threshold_search.goal import Goal
from aebnas.run.events import Listen, RunEvents
from aebnas.run.pick_records import read_pick, record_pick
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.space.policy_spec import OptimiseSpec
from aebnas.strategies.trial import OperatingPoint

CERTIFY = "certify"
PER_EXIT = 50
"""Quantiles per exit: more than in a search, since this is one network instead of many."""

CALIBRATE_METHODS = (*METHODS, DART)


@dataclass(frozen=True)
class ExitCalibration:
    """An exit over all samples of `calibrate`: its temperature, calibration error under and without it, its summary."""

    temperature: float
    reliability: Reliability
    before: Reliability
    summary: ExitSummary


@dataclass(frozen=True)
class Calibrated:
    """A selected model under the policy found for a goal; `point` holds its metrics on `samples` images of the search
    split.

    `found_on` is the number of `calibrate` images, `overall` the reliability of the policy's predictions on them,
    `before` that without temperatures; `difficulty_ms` is the latency of estimating the difficulty of an image, None
    if the policy doesn't use it; `certify_uses` counts the policies of this model that were tested on `certify`.
    """

    id: str
    goal: Goal
    method: str
    tuned: Tuned
    point: OperatingPoint
    samples: int
    found_on: int
    exits: tuple[ExitCalibration, ...]
    overall: Reliability
    before: Reliability
    difficulty_ms: float | None
    certify_uses: int
    notes: tuple[str, ...]

    @property
    def policy(self) -> ExitPolicy:
        """The policy in force from now on."""
        return self.tuned.policy

    def to_json(self) -> dict[str, Any]:
        """The content of `calibrated` in `picks/<id>.json`, except the digest of the weights."""
        promise = None
        if self.tuned.promise is not None:
            promise = self.tuned.promise.to_json() | {"certify_uses": self.certify_uses}
        return self.point.to_json() | {
            "how": f"thresholds for {self.goal} ({self.method})",
            "goal": str(self.goal),
            "method": self.method,
            "samples": self.samples,
            **accuracy_bounds(self.point.metrics, self.samples),
            "found_on": self.found_on,
            "exits": [_exit_json(each) for each in self.exits],
            "reliability": reliability_json(self.overall),
            "ece_before": self.before.ece,
            "difficulty_ms": self.difficulty_ms,
            "certify_uses": self.certify_uses,
            "promise": promise,
            "notes": list(self.notes),
        }


def calibrate(
    folder: Path,
    rule: str,
    goal: Goal,
    method: str | None = None,
    per_exit: int = PER_EXIT,
    temperatures: bool = True,
    listen: Listen = RunEvents,
) -> Calibrated:
    """Find the policy of the selected model for a goal and put it in force: `evaluate` and `export` use it from now on.

    Temperatures (Guo et al. 2017, temperature scaling) and thresholds are fitted on `calibrate`, a bound on the risk is
    certified on `certify`. `method` is one of CALIBRATE_METHODS; None takes the space's method, or auto. `per_exit` is
    the number of quantiles tried per exit. The result is recorded in `picks/<id>.json`; `listen` makes the listener of
    the events. A goal that no policy meets is no error, but stated in `notes`. Raises UserError if no point matches,
    for an unknown method or cost, quantiles out of range, an empty `certify` split with a bound on the risk, and
    missing weights.
    """
    outputs = SelectedModelOutputs.open(folder, rule)
    if goal.risk is not None:
        outputs.images(CERTIFY)  # an empty split is reported before any work is done
    cost = goal.cost if goal.budget is not None else outputs.tuned_cost
    # a target accuracy and a risk are shares of all images, whatever the search's objective
    shares = goal.accuracy_target is not None or goal.risk is not None
    accuracy = ACCURACY if shares else outputs.tuned_accuracy
    fitted = fit_finder(outputs, method, per_exit, temperatures, cost, accuracy)
    certify_table = None
    if goal.risk is not None:
        certify_table = fitted.with_difficulty(outputs, CERTIFY)
    tuned = tune(goal, fitted.finder, fitted.table, certify_table)
    policy = tuned.policy
    search = outputs.table_for(policy, SEARCH)
    point = operating_point(outputs.picked[0].architecture.id, outputs.graph, policy, search)
    uses = int((read_pick(outputs.session.run, outputs.picked).get("calibrated") or {}).get("certify_uses", 0))
    calibrated = Calibrated(
        id=outputs.id,
        goal=goal,
        method=fitted.method,
        tuned=tuned,
        point=point,
        samples=search.samples,
        found_on=fitted.table.samples,
        exits=exit_calibrations(fitted.table, fitted.plain, fitted.temperatures),
        overall=policy_reliability(fitted.table, policy),
        before=reliability_without(fitted.table, fitted.plain, policy),
        difficulty_ms=None
        if policy.difficulty is None
        else estimator_latency_ms(policy.difficulty, outputs.graph.input_shape),
        certify_uses=uses + (goal.risk is not None),
        notes=tuple(filter(None, (goal.missed(tuned.found), _uses_note(uses + 1) if goal.risk else ""))),
    )
    run = outputs.session.run
    record_pick(run, outputs.picked, "calibrated", calibrated.to_json() | {"weights": outputs.digest})
    with listen(outputs.session.facts) as events:
        pairs = [(each.before, each.reliability) for each in calibrated.exits]
        events.calibrated(outputs.id, pairs, (calibrated.before, calibrated.overall))
        events.selected_model_changed(outputs.id)
    return calibrated


@dataclass(frozen=True)
class FittedFinder:
    """The inputs of a threshold search on one selected model: its `calibrate` table under the temperatures fitted
    there, the `plain` table without temperatures, and the finder of the method."""

    method: str
    table: ExitTable
    plain: ExitTable
    temperatures: tuple[float, ...]
    finder: Finder

    def with_difficulty(self, outputs: SelectedModelOutputs, split: str) -> ExitTable:
        """The table of another split under the same temperatures, with difficulties if the finder's policies use
        them."""
        table = outputs.table(split, self.temperatures)
        difficulty = self.table.difficulty
        return table if difficulty is None else outputs.with_difficulty(table, difficulty, outputs.images(split))


def fit_finder(
    outputs: SelectedModelOutputs, method: str | None, per_exit: int, temperatures: bool, cost: str, accuracy: str
) -> FittedFinder:
    """Fit temperatures on `calibrate` and make the finder of a method for a cost and an accuracy.

    Raises UserError for an unknown method, a number of quantiles out of range, and a cost that the run's cost model
    doesn't have.
    """
    session = outputs.session
    space = session.space.spec
    method = method or (space.policy.thresholds.optimise or OptimiseSpec()).method
    if method not in CALIBRATE_METHODS:
        raise UserError(f"--method must be one of {', '.join(CALIBRATE_METHODS)}, but got '{method}'")
    changes: dict[str, Any] = {"per_exit": per_exit} | ({} if method == DART else {"method": method})
    changed_optimise(space.policy, changes)  # a wrong value is refused before the network runs
    plain = outputs.table(CALIBRATE)
    if cost not in plain.costs:
        raise UserError(f"--budget must bound the mean of {', '.join(plain.costs)}, but got '{cost}'")
    recorded = outputs.logits(CALIBRATE)
    fitted = fit_temperatures(recorded.logits_nec.numpy(), recorded.labels_n.numpy()) if temperatures else ()
    table = outputs.table(CALIBRATE, fitted)
    rules = Rules.of_space(space, outputs.picked[0].architecture, table, cost, accuracy, **changes)
    if method != DART:
        return FittedFinder(method, table, plain, fitted, rules.find)
    images = outputs.images(CALIBRATE)
    difficulty = fit_difficulty(images)
    terms_n3 = raw_terms(images, difficulty.tau_edge)
    setting = rules.dart_setting(
        outputs.with_difficulty(table, difficulty, images), difficulty, terms_n3, session.experiment.seed
    )
    table = outputs.with_difficulty(table, setting.difficulty, images)
    return FittedFinder(method, table, plain, fitted, partial(rules.find_dart, setting))


def exit_calibrations(table: ExitTable, plain: ExitTable, temperatures: Sequence[float]) -> tuple[ExitCalibration, ...]:
    """The calibration of each exit over all samples, from the table under the temperatures and the one without."""
    values = tuple(temperatures) or (1.0,) * table.exits
    columns = zip(values, exit_reliability(table), exit_reliability(plain), summarise_exits(table), strict=True)
    return tuple(ExitCalibration(*each) for each in columns)


def reliability_json(reliability: Reliability) -> dict[str, Any]:
    """A reliability curve as JSON, with null for NaN (an empty bin)."""
    return {
        "ece": reliability.ece,
        "overconfidence": reliability.overconfidence,
        "count": reliability.count_b.tolist(),
        "confidence": [None if math.isnan(value) else value for value in reliability.confidence_b.tolist()],
        "accuracy": [None if math.isnan(value) else value for value in reliability.accuracy_b.tolist()],
    }


def _exit_json(each: ExitCalibration) -> dict[str, Any]:
    summary = asdict(each.summary)
    summary["candidates"] = {
        name: [None if math.isinf(value) else value for value in values]
        for name, values in summary["candidates"].items()
    }
    return {
        "temperature": each.temperature,
        "ece_before": each.before.ece,
        "reliability": reliability_json(each.reliability),
    } | summary


def reliability_without(table: ExitTable, plain: ExitTable, policy: ExitPolicy) -> Reliability:
    """Reliability of a policy's predictions with the confidences of `plain`, which has no temperatures.

    Each sample leaves at the exit that it takes in `table`, which has the policy's temperatures.
    """
    taken_n = table.exit_taken(policy)
    always = ExitPolicy("confidence", (None,) * (table.exits - 1))
    rows = (range(len(taken_n)), taken_n)
    taken = replace(
        plain,
        scores={"confidence": plain.scores["confidence"][rows][:, None].repeat(plain.exits, 1)},
        correct_ne=plain.correct_ne[rows][:, None].repeat(plain.exits, 1),
    )
    return policy_reliability(taken, always)


def _uses_note(uses: int) -> str:
    if uses < 2:
        return ""
    return (
        f"Policies of this pick have been tested on certify {uses} times: the promise holds for each of them "
        "separately, not for the best of several."
    )
