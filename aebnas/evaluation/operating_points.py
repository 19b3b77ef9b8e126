"""From exit tables to operating points and trials, and pruning of infeasible jobs before they are evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from aebnas.core.metrics import ACCURACY, MACS, METRICS, Constraint, SoftTarget
from aebnas.core.percentiles import ROUNDING, TailMetric
from aebnas.cost.counts import count_graph
from aebnas.cost.exit_costs import ExitCosts
from aebnas.cost.memory import peak_memory
from aebnas.cost.model import COUNTS, CostModel
from aebnas.data.splits import CALIBRATE, SEARCH
from aebnas.evaluation.worker_pool import Failure
from aebnas.policies.calibration.calibrated_tables import Tables
from aebnas.policies.calibration.tuning import Rules
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import difficulty_cost, score_policy
from aebnas.policies.threshold_search.soft_target import tune_to_target
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.space.min_exits import min_exits
from aebnas.space.spec import SpaceSpec
from aebnas.strategies.strategy import Job
from aebnas.strategies.trial import NOT_EVALUATED, OperatingPoint, Trial


def operating_point(architecture_id: str, graph: Graph, policy: ExitPolicy, table: ExitTable) -> OperatingPoint:
    """An architecture under a policy with all its metrics, measured on `table`; `graph` is that of the shipped network.

    The accuracies over classes are those of the classes that have samples; they require labels in the table. `macs`
    includes the estimate of an image's difficulty where the policy uses it.
    """
    scored = score_policy(table, policy)
    metrics = {
        "accuracy": scored.accuracy,
        "avg_macs": scored.avg_macs,
        "avg_macs_taken_only": scored.avg_macs_taken_only,
        **scored.class_metrics,
    }
    metrics |= static_metrics(graph) | _device_metrics(table, policy)
    metrics["macs"] += difficulty_cost(table, policy, MACS)
    return OperatingPoint(architecture_id, policy, metrics, scored.exit_shares, scored.exit_accuracy)


def static_metrics(graph: Graph) -> dict[str, float]:
    """The metrics that depend only on the graph: `params`, `weight_bytes`, `macs`, `peak_memory_bytes`."""
    counts = count_graph(graph)
    return {
        "params": float(counts.params.total),
        "weight_bytes": float(counts.weight_bytes.total),
        "macs": float(counts.macs.total),
        "peak_memory_bytes": float(peak_memory(graph)[-1]),
    }


def _device_metrics(table: ExitTable, policy: ExitPolicy) -> dict[str, float]:
    """Mean, percentiles and worst case of each cost from a device profile that the table holds."""
    metrics: dict[str, float] = {}
    for cost, costs in table.costs.items():
        if cost not in METRICS or not METRICS[cost].by_device:
            continue
        runs_e = np.array([policy.runs(index) for index in range(table.exits)])
        statistics = costs.statistics(table.exit_taken(policy), runs_e, difficulty_cost(table, policy, cost))
        metrics |= {str(TailMetric(cost, name)): value for name, value in statistics.items()}
    return metrics


def provably_infeasible(
    jobs: Sequence[Job], constraints: Sequence[Constraint], costs: CostModel
) -> list[tuple[str, float] | None]:
    """For each job the reason why no accuracy lets it satisfy the constraints, and the violation; None if it may.

    Static metrics are exact; an average cost is at least that of the cheapest exit, and so is each percentile. The
    costs of all jobs are predicted together.
    """
    if not (jobs and constraints):
        return [None] * len(jobs)
    graphs = [costs.charged(lower(job.architecture)) for job in jobs]
    return [
        _infeasible(job, graph, constraints, exit_costs)
        for job, graph, exit_costs in zip(jobs, graphs, costs.exit_costs(graphs), strict=True)
    ]


def _infeasible(
    job: Job, graph: Graph, constraints: Sequence[Constraint], exit_costs: Mapping[str, ExitCosts]
) -> tuple[str, float] | None:
    best = static_metrics(graph) | _minimum_costs(exit_costs, job.policy)
    broken = [c for c in constraints if c.metric in best and not c.satisfied(best) and _decides(c)]
    if not broken:
        return None
    first = broken[0]
    at_least = "" if METRICS[first.metric].static else " at least"
    reason = f"{first.metric} is{at_least} {best[first.metric]:g}, but must be {first.sense} {first.bound:g}"
    return reason, sum(constraint.violation(best) for constraint in broken)


def _decides(constraint: Constraint) -> bool:
    """Whether a lower bound (or an exact value) of the metric can decide the constraint."""
    return METRICS[constraint.metric].static or constraint.sense == "<="


def _minimum_costs(exit_costs: Mapping[str, ExitCosts], policy: ExitPolicy | None) -> dict[str, float]:
    """The minimum cost of a sample, for every metric that is a statistic over samples."""
    minimum = {}
    for name, metric in METRICS.items():
        if metric.cost in exit_costs:
            costs = exit_costs[metric.cost]
            runs_e = np.array([policy is None or policy.runs(index) for index in range(len(costs.branch_e))])
            # without a given policy every other exit may be `never`, so only the branch taken has to run
            taken_only = policy is None or name == "avg_macs_taken_only"
            to_exit_e = costs.taken_only if taken_only else costs.to_exit(runs_e)
            # shares are sums of floats, so rounding may put a mean of equal costs below them
            rounding = 1.0 if metric.cost == MACS else 1.0 - ROUNDING
            minimum[name] = float(to_exit_e[runs_e].min()) * rounding
    return minimum


def make_trial(
    number: int,
    job: Job,
    outcome: Tables | Failure,
    space: SpaceSpec,
    constraints: Sequence[Constraint],
    target: SoftTarget | None,
    seconds: float,
    cost: str = MACS,
    costs: CostModel = COUNTS,
    accuracy: str = ACCURACY,
) -> Trial:
    """The Trial of a job whose architecture was scored or couldn't be; thresholds are found for `accuracy` and `cost`.

    `costs` are those that its tables were made with: metrics are those of the graph that they charge.
    """
    if isinstance(outcome, Failure):
        return failed_trial(number, job, outcome.reason, seconds)
    points = _points(job, costs.charged(lower(job.architecture)), outcome, space, target, cost, accuracy)
    violations = [sum(c.violation(point.metrics) for c in constraints) for point in points]
    if min(violations) > 0:
        closest = points[int(np.argmin(violations))]
        broken = next(c for c in constraints if not c.satisfied(closest.metrics))
        value = f"{closest.metrics[broken.metric]:g}"
        reason = f"the closest {broken.metric} is {value}, but must be {broken.sense} {broken.bound:g}"
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
    """The Trial of a job that could not be evaluated."""
    return Trial(number, job.architecture, job.policy, "failed", (), reason, job.origin, seconds)


def pruned_trial(number: int, job: Job, reason: str, violation: float) -> Trial:
    """The Trial of a provably infeasible job, which is not evaluated."""
    reason = f"{NOT_EVALUATED}: {reason}"
    return Trial(number, job.architecture, job.policy, "infeasible", (), reason, job.origin, 0.0, violation, 0.0)


def found_policies(
    table: ExitTable,
    architecture: Architecture,
    space: SpaceSpec,
    target: SoftTarget | None,
    cost: str = MACS,
    accuracy: str = ACCURACY,
) -> list[ExitPolicy]:
    """The policies of a space whose thresholds are found on a table: the frontier of an accuracy and a cost, or the
    best policy for the soft target."""
    policy_spec = space.policy
    thresholds = policy_spec.thresholds
    if thresholds.optimise is not None:
        tuned = Rules.of_space(space, architecture, table, cost, accuracy).find(table)
        return [point.policy for point in tuned.thinned(thresholds.optimise.max_points).points]
    assert thresholds.genes and target, "a job without a policy requires thresholds to optimise or a soft target"
    choices = [None if gene == "never" else float(gene) for gene in thresholds.genes]
    return [tune_to_target(table, policy_spec.criterion, choices, target, min_exits(space, architecture))]


def _points(
    job: Job, graph: Graph, tables: Tables, space: SpaceSpec, target: SoftTarget | None, cost: str, accuracy: str
) -> tuple[OperatingPoint, ...]:
    """The points of the job's policy, applied to calibrated probabilities, or of the policies found on `calibrate`."""
    given = [] if job.policy is None else [replace(job.policy, temperatures=tables[SEARCH].temperatures)]
    policies = given or found_policies(tables[CALIBRATE], job.architecture, space, target, cost, accuracy)
    return tuple(operating_point(job.architecture.id, graph, policy, tables[SEARCH]) for policy in policies)
