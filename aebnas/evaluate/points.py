"""From exit tables to operating points and trials; and what can be said before anything is evaluated."""

from collections.abc import Sequence

import numpy as np

from aebnas.cost.counts import GraphCounts, count_graph
from aebnas.evaluate.evaluator import Tables
from aebnas.evaluate.pool import Failure
from aebnas.objectives import METRICS, Constraint, SoftTarget
from aebnas.policy.table import ExitTable, score_policy
from aebnas.policy.thresholds import frontier, tune_to_target
from aebnas.runtime.decide import ExitPolicy
from aebnas.space.architecture import Architecture
from aebnas.space.lower import lower
from aebnas.space.spec import PolicySpec
from aebnas.strategies.base import Job
from aebnas.trial import OperatingPoint, Trial

CALIBRATE, SEARCH = "calibrate", "search"


def splits_needed(policy: PolicySpec, target: SoftTarget | None) -> tuple[str, ...]:
    """Splits to tabulate: thresholds are found on `calibrate`; figures are those of `search`."""
    found = policy.thresholds.optimise is not None or (target is not None and target.tunes_thresholds)
    return (CALIBRATE, SEARCH) if found else (SEARCH,)


def operating_point(architecture: Architecture, policy: ExitPolicy, table: ExitTable) -> OperatingPoint:
    """An architecture under a policy with all its metrics, measured on `table`."""
    scored = score_policy(table, policy)
    metrics = {
        "accuracy": scored.accuracy,
        "avg_macs": scored.avg_macs,
        "avg_macs_taken_only": scored.avg_macs_taken_only,
    } | static_metrics(architecture)
    return OperatingPoint(architecture.id, policy, metrics, scored.exit_shares, scored.exit_accuracy)


def static_metrics(architecture: Architecture) -> dict[str, float]:
    """The metrics that the graph alone gives."""
    counts = count_graph(lower(architecture))
    return {
        "params": float(counts.params.total),
        "weight_bytes": float(counts.weight_bytes.total),
        "macs": float(counts.macs.total),
    }


def hopeless(job: Job, constraints: Sequence[Constraint]) -> tuple[str, float] | None:
    """Why a job can't meet the constraints whatever its accuracy, and by how much; None if it can.

    Static metrics are exact; an average cost is at least that of the cheapest exit.
    """
    best = static_metrics(job.architecture) | _least_averages(count_graph(lower(job.architecture)), job.policy)
    broken = [c for c in constraints if c.metric in best and not c.satisfied(best) and _decides(c)]
    if not broken:
        return None
    first = broken[0]
    least = "" if METRICS[first.metric].static else " at least"
    reason = f"{first.metric} is{least} {best[first.metric]:g}, but must be {first.sense} {first.bound:g}"
    return reason, sum(constraint.violation(best) for constraint in broken)


def _decides(constraint: Constraint) -> bool:
    """Whether a lower bound (or an exact value) of the metric can decide the constraint."""
    return METRICS[constraint.metric].static or constraint.sense == "<="


def _least_averages(counts: GraphCounts, policy: ExitPolicy | None) -> dict[str, float]:
    exits = len(counts.macs.branch_e)
    runs_e = np.array([policy is None or policy.runs(index) for index in range(exits)])
    taken_only = counts.macs.taken_only[runs_e].min()
    # without a given policy every other exit may be `never`, so only the branch taken has to run
    least = taken_only if policy is None else counts.macs.to_exit(runs_e)[runs_e].min()
    return {"avg_macs": float(least), "avg_macs_taken_only": float(taken_only)}


def make_trial(
    number: int,
    job: Job,
    outcome: Tables | Failure,
    policy_spec: PolicySpec,
    constraints: Sequence[Constraint],
    target: SoftTarget | None,
    seconds: float,
) -> Trial:
    """The Trial of a job whose architecture was scored (or failed to be)."""
    if isinstance(outcome, Failure):
        return failed_trial(number, job, outcome.reason, seconds)
    points = _points(job, outcome, policy_spec, target)
    violations = [sum(c.violation(point.metrics) for c in constraints) for point in points]
    if min(violations) > 0:
        closest = points[int(np.argmin(violations))]
        broken = next(c for c in constraints if not c.satisfied(closest.metrics))
        value = f"{closest.metrics[broken.metric]:g}"
        reason = f"closest {broken.metric} is {value}, but must be {broken.sense} {broken.bound:g}"
        return Trial(
            number,
            job.architecture,
            job.policy,
            "infeasible",
            points,
            reason,
            job.origin,
            seconds,
            min(violations),
        )
    return Trial(number, job.architecture, job.policy, "ok", points, "", job.origin, seconds)


def failed_trial(number: int, job: Job, reason: str, seconds: float) -> Trial:
    """A Trial that could not be evaluated."""
    return Trial(number, job.architecture, job.policy, "failed", (), reason, job.origin, seconds)


def hopeless_trial(number: int, job: Job, reason: str, violation: float) -> Trial:
    """A Trial that was not worth evaluating."""
    reason = f"not evaluated: {reason}"
    return Trial(number, job.architecture, job.policy, "infeasible", (), reason, job.origin, 0.0, violation)


def found_policies(table: ExitTable, policy_spec: PolicySpec, target: SoftTarget | None) -> list[ExitPolicy]:
    """The policies of a space whose thresholds are found on a table: the frontier, or the soft target's best."""
    thresholds = policy_spec.thresholds
    if thresholds.optimise is not None:
        optimise = thresholds.optimise
        tuned = frontier(table, policy_spec.criterion, optimise.per_exit, optimise.max_points)
        return [point.policy for point in tuned.points]
    assert thresholds.genes and target, "a job without a policy comes from a space or a target that finds thresholds"
    choices = [None if gene == "never" else float(gene) for gene in thresholds.genes]
    return [tune_to_target(table, policy_spec.criterion, choices, target)]


def _points(job: Job, tables: Tables, policy_spec: PolicySpec, target: SoftTarget | None) -> tuple[OperatingPoint, ...]:
    given = [] if job.policy is None else [job.policy]
    policies = given or found_policies(tables[CALIBRATE], policy_spec, target)
    return tuple(operating_point(job.architecture, policy, tables[SEARCH]) for policy in policies)
