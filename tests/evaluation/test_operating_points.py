import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import GENES, SPACE

from aebnas.core.metrics import Constraint
from aebnas.cost.counts import count_graph
from aebnas.cost.model import COUNTS
from aebnas.data.splits import CALIBRATE, SEARCH
from aebnas.evaluation import operating_points as points
from aebnas.evaluation.operating_points import make_trial, operating_point
from aebnas.evaluation.worker_pool import Failure
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.strategies.strategy import Job

OPTIMISE, WITH_GENES = (SearchSpace(SpaceSpec.model_validate(value)) for value in (SPACE, GENES))


def random_table(architecture, rng, samples=40) -> ExitTable:
    macs = count_graph(lower(architecture)).macs
    shape = (samples, len(macs.branch_e))
    scores = {name: rng.random(shape, dtype=np.float32) for name in ("confidence", "margin")}
    return ExitTable(scores, rng.random(shape) < 0.7, {"macs": macs})


def random_job(space, rng) -> Job:
    candidate = space.decode(space.sample(rng))
    return Job(candidate.architecture, candidate.policy, "a test")


def job_with_one_exit(policy=None) -> Job:
    """The largest network of the space, whose early exit costs far less than its last one."""
    return Job(OPTIMISE.extreme(largest=True), policy, "a test")


def provably_infeasible(job, constraints):
    return points.provably_infeasible([job], constraints, COUNTS)[0]


def tables(job, seed=0):
    rng = np.random.default_rng(seed)
    return {CALIBRATE: random_table(job.architecture, rng), SEARCH: random_table(job.architecture, rng)}


def test_static_metrics_are_exact():
    job = job_with_one_exit()
    counts = count_graph(lower(job.architecture))
    for metric, exact in [
        ("params", counts.params.total),
        ("weight_bytes", counts.weight_bytes.total),
        ("macs", counts.macs.total),
    ]:
        assert provably_infeasible(job, [Constraint(metric, "<=", exact)]) is None
        assert provably_infeasible(job, [Constraint(metric, ">=", exact)]) is None
        reason, violation = provably_infeasible(job, [Constraint(metric, "<=", exact - 1)])
        assert reason.startswith(f"{metric} is ") and "at least" not in reason
        assert violation == pytest.approx(1 / (exact - 1))
        assert provably_infeasible(job, [Constraint(metric, ">=", exact + 1)]) is not None


@pytest.mark.parametrize("metric", ["avg_macs", "avg_macs_taken_only"])
def test_an_average_is_infeasible_below_the_cheapest_exit(metric):
    job = job_with_one_exit()
    cheapest = int(count_graph(lower(job.architecture)).macs.taken_only.min())
    assert provably_infeasible(job, [Constraint(metric, "<=", cheapest)]) is None
    reason, _ = provably_infeasible(job, [Constraint(metric, "<=", cheapest - 1)])
    assert reason.startswith(f"{metric} is at least ")


def test_a_given_policy_without_the_exit_costs_the_last_exit():
    macs = count_graph(lower(job_with_one_exit().architecture)).macs
    last_only = macs.backbone_e[-1] + macs.branch_e[-1]
    assert macs.taken_only[0] < last_only < macs.total
    never = job_with_one_exit(ExitPolicy("margin", (None,)))
    assert provably_infeasible(never, [Constraint("avg_macs", "<=", last_only)]) is None
    assert provably_infeasible(never, [Constraint("avg_macs", "<=", last_only - 1)]) is not None
    assert (
        provably_infeasible(
            job_with_one_exit(ExitPolicy("margin", (0.5,))), [Constraint("avg_macs", "<=", last_only - 1)]
        )
        is None
    )


def test_constraints_that_require_a_measurement_are_not_provably_infeasible():
    limits = [Constraint("accuracy", ">=", 1.0), Constraint("avg_macs", ">=", 1e12)]
    assert provably_infeasible(job_with_one_exit(), limits) is None


def test_violations_add_up():
    job = job_with_one_exit()
    limits = [Constraint("params", "<=", 10), Constraint("macs", "<=", 100)]
    separate = [provably_infeasible(job, [limit])[1] for limit in limits]
    assert provably_infeasible(job, limits)[1] == pytest.approx(sum(separate))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["optimise", "genes", "costly_branch"]))
def test_satisfiable_constraints_are_not_provably_infeasible(make_small, seed, kind):
    """Bounds equal to the metrics that a network reaches, for any predictions and thresholds."""
    rng = np.random.default_rng(seed)
    space = {"optimise": OPTIMISE, "genes": WITH_GENES}.get(kind) or make_small(kind)
    job = random_job(space, rng)
    table = random_table(job.architecture, rng)
    early = table.exits - 1
    policies = [ExitPolicy("confidence", (0.0,) * early), ExitPolicy("margin", (None,) * early)]
    policies += [ExitPolicy("margin", tuple(rng.random(early).tolist())) for _ in range(3)]
    for policy in [job.policy] if job.policy is not None else policies:
        reached = operating_point(job.architecture.id, lower(job.architecture), policy, table).metrics
        for sense in ("<=", ">="):
            constraints = [Constraint(metric, sense, value) for metric, value in reached.items()]
            assert provably_infeasible(job, constraints) is None


def test_a_gene_policy_gives_the_point_of_that_policy():
    job = job_with_one_exit(ExitPolicy("margin", (0.5,)))
    scored = tables(job)
    trial = make_trial(3, job, {SEARCH: scored[SEARCH]}, WITH_GENES.spec, [], None, 1.5)
    assert (trial.number, trial.status, trial.policy, trial.seconds) == (3, "ok", job.policy, 1.5)
    assert trial.points == (operating_point(job.architecture.id, lower(job.architecture), job.policy, scored[SEARCH]),)
    stopped_n = scored[SEARCH].scores["margin"][:, 0] > 0.5
    right_n = np.where(stopped_n, *scored[SEARCH].correct_ne.T)
    assert trial.points[0].metrics["accuracy"] == pytest.approx(right_n.mean())
    assert trial.points[0].exit_shares[0] == pytest.approx(stopped_n.mean())


def test_thresholds_are_found_on_calibrate_and_measured_on_search():
    job = job_with_one_exit()
    scored = tables(job)
    trial = make_trial(0, job, scored, OPTIMISE.spec, [], None, 0.0)
    assert 1 < len(trial.points) <= 4
    for point in trial.points:
        assert point == operating_point(job.architecture.id, lower(job.architecture), point.policy, scored[SEARCH])
    other_search = scored | {SEARCH: random_table(job.architecture, np.random.default_rng(9))}
    same_policies = make_trial(0, job, other_search, OPTIMISE.spec, [], None, 0.0).points
    assert [point.policy for point in same_policies] == [point.policy for point in trial.points]
    assert same_policies != trial.points


def test_a_trial_with_one_feasible_point_is_ok():
    job = job_with_one_exit()
    scored = tables(job)
    averages = sorted(p.metrics["avg_macs"] for p in make_trial(0, job, scored, OPTIMISE.spec, [], None, 0.0).points)
    limit = [Constraint("avg_macs", "<=", averages[0])]
    trial = make_trial(0, job, scored, OPTIMISE.spec, limit, None, 0.0)
    assert trial.status == "ok" and len(trial.points) == len(averages)


def test_an_infeasible_trial_records_its_violation():
    job = job_with_one_exit()
    scored = tables(job)
    best = max(p.metrics["accuracy"] for p in make_trial(0, job, scored, OPTIMISE.spec, [], None, 0.0).points)
    trial = make_trial(0, job, scored, OPTIMISE.spec, [Constraint("accuracy", ">=", 1.0)], None, 0.0)
    assert trial.status == "infeasible" and trial.points
    assert trial.violation == pytest.approx(1.0 - best)
    assert trial.reason == f"the closest accuracy is {best:g}, but must be >= 1"


def test_a_failure_is_a_failed_trial():
    trial = make_trial(0, job_with_one_exit(), Failure("ValueError: NaN"), OPTIMISE.spec, [], None, 0.0)
    assert (trial.status, trial.reason, trial.points) == ("failed", "ValueError: NaN", ())
