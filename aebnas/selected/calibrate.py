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
from aebnas.core.metrics import MACS
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
"""Quantiles of an exit: one network can be searched more finely than each of a search's many."""

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
    """A pick under the policy found for a goal; `point` are its figures on `samples` images of the search split.

    `overall` is the reliability of the answers given under the policy (on `calibrate`), `before` that without
    temperatures; `difficulty_ms` the latency of estimating an image's difficulty, where the policy looks at it;
    `certify_uses` how often this pick's policies have been tested on `certify`.
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
        """What `picks/<id>.json` keeps under `calibrated`, but for the digest of the weights."""
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
    """Find the pick's policy for a goal and put it in force: `evaluate` and `export` use it from now on.

    Temperatures and thresholds come from `calibrate`, a promise about risk from `certify`. `method` is one of
    CALIBRATE_METHODS (left out: the space's, or auto). Recorded in `picks/<id>.json`; `listen` makes the listener
    of the events. Raises UserError.
    """
    answered = SelectedModelOutputs.open(folder, rule)
    if goal.risk is not None:
        answered.images(CERTIFY)  # without any there is nothing to begin with
    cost = goal.cost if goal.budget is not None else answered.tuned_cost
    prepared = prepare(answered, method, per_exit, temperatures, cost)
    certify_table = None
    if goal.risk is not None:
        certify_table = prepared.with_difficulty(answered, CERTIFY)
    tuned = tune(goal, prepared.finder, prepared.table, certify_table)
    policy = tuned.policy
    search = answered.table_for(policy, SEARCH)
    point = operating_point(answered.picked[0].architecture.id, answered.graph, policy, search)
    uses = int((read_pick(answered.session.run, answered.picked).get("calibrated") or {}).get("certify_uses", 0))
    calibrated = Calibrated(
        id=answered.id,
        goal=goal,
        method=prepared.method,
        tuned=tuned,
        point=point,
        samples=search.samples,
        found_on=prepared.table.samples,
        exits=exit_calibrations(prepared.table, prepared.plain, prepared.temperatures),
        overall=policy_reliability(prepared.table, policy),
        before=reliability_without(prepared.table, prepared.plain, policy),
        difficulty_ms=None
        if policy.difficulty is None
        else estimator_latency_ms(policy.difficulty, answered.graph.input_shape),
        certify_uses=uses + (goal.risk is not None),
        notes=tuple(filter(None, (goal.missed(tuned.found), _uses_note(uses + 1) if goal.risk else ""))),
    )
    run = answered.session.run
    record_pick(run, answered.picked, "calibrated", calibrated.to_json() | {"weights": answered.digest})
    with listen(answered.session.facts) as events:
        pairs = [(each.before, each.reliability) for each in calibrated.exits]
        events.calibrated(answered.id, pairs, (calibrated.before, calibrated.overall))
        events.selected_model_changed(answered.id)
    return calibrated


@dataclass(frozen=True)
class Prepared:
    """All that finding policies of a pick needs: its `calibrate` table under the temperatures fitted there, the `plain`
    one without, and a finder by the method."""

    method: str
    table: ExitTable
    plain: ExitTable
    temperatures: tuple[float, ...]
    finder: Finder

    def with_difficulty(self, answered: SelectedModelOutputs, split: str) -> ExitTable:
        """Another split's table, with what policies of the finder look at."""
        table = answered.table(split, self.temperatures)
        difficulty = self.table.difficulty
        return table if difficulty is None else answered.with_difficulty(table, difficulty, answered.images(split))


def prepare(
    answered: SelectedModelOutputs, method: str | None, per_exit: int, temperatures: bool, cost: str = MACS
) -> Prepared:
    """Fit temperatures on `calibrate` and make the finder of a method; raises UserError for one that isn't."""
    session = answered.session
    space = session.space.spec
    chosen = method or (space.policy.thresholds.optimise or OptimiseSpec()).method
    if chosen not in CALIBRATE_METHODS:
        raise UserError(f"--method must be one of {', '.join(CALIBRATE_METHODS)}, but got '{chosen}'")
    changes: dict[str, Any] = {"per_exit": per_exit} | ({} if chosen == DART else {"method": chosen})
    changed_optimise(space.policy, changes)  # a wrong value is refused before the network runs
    plain = answered.table(CALIBRATE)
    if cost not in plain.costs:
        raise UserError(f"--budget must bound the mean of {', '.join(plain.costs)}, but got '{cost}'")
    found = answered.answers(CALIBRATE)
    fitted = fit_temperatures(found.logits_nec.numpy(), found.labels_n.numpy()) if temperatures else ()
    table = answered.table(CALIBRATE, fitted)
    rules = Rules.of_space(space, answered.picked[0].architecture, table, cost, **changes)
    if chosen != DART:
        return Prepared(chosen, table, plain, fitted, rules.find)
    images = answered.images(CALIBRATE)
    difficulty = fit_difficulty(images)
    terms_n3 = raw_terms(images, difficulty.tau_edge)
    setting = rules.dart_setting(
        answered.with_difficulty(table, difficulty, images), difficulty, terms_n3, session.experiment.seed
    )
    table = answered.with_difficulty(table, setting.difficulty, images)
    return Prepared(chosen, table, plain, fitted, partial(rules.find_dart, setting))


def exit_calibrations(table: ExitTable, plain: ExitTable, temperatures: Sequence[float]) -> tuple[ExitCalibration, ...]:
    """Every exit by itself, from its table under the temperatures and without."""
    values = tuple(temperatures) or (1.0,) * table.exits
    columns = zip(values, exit_reliability(table), exit_reliability(plain), summarise_exits(table), strict=True)
    return tuple(ExitCalibration(*each) for each in columns)


def reliability_json(found: Reliability) -> dict[str, Any]:
    """A reliability curve as JSON, which has no NaN."""
    return {
        "ece": found.ece,
        "overconfidence": found.overconfidence,
        "count": found.count_b.tolist(),
        "confidence": [None if math.isnan(value) else value for value in found.confidence_b.tolist()],
        "accuracy": [None if math.isnan(value) else value for value in found.accuracy_b.tolist()],
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
    """Reliability of the answers given under a policy if confidences were without temperatures, as in `plain`.

    Samples leave where they do in `table`, which has the policy's temperatures.
    """
    taken_n = table.exit_taken(policy)
    always = ExitPolicy("confidence", (None,) * (table.exits - 1))
    rows = (range(len(taken_n)), taken_n)
    answered = replace(
        plain,
        scores={"confidence": plain.scores["confidence"][rows][:, None].repeat(plain.exits, 1)},
        correct_ne=plain.correct_ne[rows][:, None].repeat(plain.exits, 1),
    )
    return policy_reliability(answered, always)


def _uses_note(uses: int) -> str:
    if uses < 2:
        return ""
    return (
        f"This pick's policies have been tested on certify {uses} times: the promise holds for each of them by itself, "
        "not for the best of several."
    )
