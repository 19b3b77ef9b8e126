"""The contract that every strategy must satisfy."""

import numpy as np
import pytest
from real_spaces import SPACES, STRATEGIES_HERE, candidates, failed, plan_of, scored, searched, strategy_of
from synthetic import OBJECTIVES, FakeSpace, evaluate, run

from aebnas.core.errors import UserError
from aebnas.core.metrics import Constraint, Objective, SoftTarget
from aebnas.strategies.build import STRATEGIES, make_strategy
from aebnas.strategies.strategy_spec import StrategySpec
from aebnas.strategies.trial import Trial


@pytest.fixture(params=sorted(set(STRATEGIES) - {"adaptive_darts"}))
def name(request):
    """Every strategy that proposes architectures; `adaptive_darts` proposes trainings."""
    return request.param


def make(name, space, seed=11, objectives=OBJECTIVES, constraints=(), target=None, **spec):
    settings = StrategySpec(name=name, **{"population": 8, "generations": 5, **spec})
    return make_strategy(settings, space, objectives, constraints, target, np.random.default_rng(seed))


def mixed(space, job, number):
    """Every fourth job fails, every third is infeasible, with and without a known violation."""
    if number % 4 == 0:
        return Trial(number, job.architecture, job.policy, "failed", (), "out of memory", job.origin, 0.0)
    if number % 3 == 0:
        violation = float(number % 2)
        return Trial(number, job.architecture, job.policy, "infeasible", (), "too big", job.origin, 0.0, violation)
    return evaluate(space, job, number, points=2)


def test_asks_distinct_jobs_until_the_evaluations_are_used_up(name):
    space = FakeSpace()
    trials = run(make(name, space), space)
    assert len(trials) == 40 == len({(trial.architecture.id, trial.policy) for trial in trials})
    assert all(trial.origin.startswith(name) for trial in trials)


def test_asks_a_population_at_a_time(name):
    space = FakeSpace()
    strategy = make(name, space)
    for _ in range(5):
        jobs = strategy.ask()
        assert len(jobs) == 8
        strategy.tell([evaluate(space, job, i) for i, job in enumerate(jobs)])
    assert strategy.ask() == strategy.ask() == []


def test_equal_seeds_and_tells_give_equal_asks_for_any_state_of_the_global_generator(name):
    space, asked = FakeSpace(), []
    for global_seed in (1, 2):
        np.random.seed(global_seed)  # noqa: NPY002
        asked.append([(t.architecture, t.policy, t.origin) for t in run(make(name, space), space)])
    assert asked[0] == asked[1]
    assert asked[0] != [(t.architecture, t.policy, t.origin) for t in run(make(name, space, seed=12), space)]


def test_does_not_use_the_global_generator(name):
    space = FakeSpace()
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    run(make(name, space), space)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_continues_after_failed_and_infeasible_trials(name):
    space = FakeSpace()
    strategy, number = make(name, space), 0
    while jobs := strategy.ask():
        strategy.tell([mixed(space, job, number + i) for i, job in enumerate(jobs)])
        number += len(jobs)
    assert number == 40


def test_continues_after_only_failed_trials(name):
    strategy, number = make(name, FakeSpace()), 0
    while jobs := strategy.ask():
        strategy.tell([Trial(0, job.architecture, job.policy, "failed", (), "no", "", 0.0) for job in jobs])
        number += len(jobs)
    assert number == 40


@pytest.mark.parametrize("sizes", [(1,), (3,), (5, 2)])
def test_ends_when_the_space_is_exhausted(name, sizes):
    space = FakeSpace(sizes, thresholds=1)
    trials = run(make(name, space), space)
    assert {trial.architecture.id for trial in trials} == {
        space.decode((*g, 0, 0)).architecture.id for g in grid(sizes)
    }
    assert len(trials) == space.size


def grid(sizes):
    return np.argwhere(np.ones(sizes, dtype=bool)).tolist()


def test_accepts_several_points_per_trial_and_a_space_without_policy(name):
    space = FakeSpace(thresholds=1)
    trials = run(make(name, space), space, points=4)
    assert len(trials) == 40 and all(trial.policy is None for trial in trials)


def test_accepts_one_or_three_objectives_constraints_and_a_target(name):
    space, budget = FakeSpace(), [Constraint.parse("avg_macs <= 1.5"), Constraint.parse("params <= 12")]
    for objectives in (OBJECTIVES[:1], [*OBJECTIVES, Objective("params")]):
        assert len(run(make(name, space, objectives=objectives, constraints=budget), space, budget, points=2)) == 40
    assert len(run(make(name, space, target=SoftTarget("avg_macs", 1.3)), space)) == 40


def test_tells_must_match_asks_in_order(name):
    space = FakeSpace()
    strategy = make(name, space)
    jobs = strategy.ask()
    trials = [evaluate(space, job, i) for i, job in enumerate(jobs)]
    with pytest.raises(ValueError, match="ask must follow tell, but 8 jobs"):
        strategy.ask()
    for wrong in (trials[::-1], trials[:-1], []):
        with pytest.raises(ValueError, match="must match the 8 jobs asked, in order"):
            strategy.tell(wrong)
    strategy.tell(trials)
    assert len(strategy.ask()) == 8


def test_a_fitness_needs_an_objective(name):
    with pytest.raises(ValueError, match="at least one metric"):
        make(name, FakeSpace(), objectives=[])


TUNED = SoftTarget("avg_macs", 1.3, tunes_thresholds=True)


def test_with_tuned_thresholds_an_architecture_is_asked_once_and_without_policy(name):
    space = FakeSpace(thresholds=3)
    trials = run(make(name, space, target=TUNED), space)
    assert len(trials) == 40 == len({trial.architecture.id for trial in trials})
    assert all(trial.policy is None for trial in trials)


def test_with_tuned_thresholds_the_space_is_exhausted_by_its_architectures(name):
    space = FakeSpace((5, 2), thresholds=3)
    assert len(run(make(name, space, target=TUNED), space)) == 10


# the same contract on real spaces

REFUSED = {("adaptive_darts", space) for space in SPACES if space not in ("one cell", "cells")}
"""Relaxed networks are made of cells, and thresholds are found on their tables."""


def test_the_real_spaces_are_searched_by_every_strategy():
    assert set(STRATEGIES_HERE) == set(STRATEGIES)


@pytest.fixture(
    params=[(s, space) for s in sorted(STRATEGIES) for space in SPACES if (s, space) not in REFUSED], ids=" on ".join
)
def plan(request, tmp_path):
    """Every strategy on every space that it accepts."""
    return plan_of(*request.param, tmp_path)


@pytest.mark.parametrize(("strategy", "space"), sorted(REFUSED))
def test_a_plan_refuses_a_space_that_its_strategy_cannot_search(strategy, space, tmp_path):
    with pytest.raises(UserError, match=r"where strategy is adaptive_darts, but got [^\n]+$"):
        plan_of(strategy, space, tmp_path)


def test_asks_distinct_jobs_of_a_real_space_until_it_or_the_evaluations_are_exhausted(plan):
    jobs, trials = searched(strategy_of(plan), plan.space)
    assert len({job.key for job in jobs}) == len(jobs) == len(trials)
    if plan.experiment.trains_relaxed:
        assert len(jobs) == plan.experiment.strategy.evaluations == 4
    else:
        possible = candidates(plan.space)
        assert {job.key for job in jobs} <= possible
        assert len(jobs) == min(len(possible), plan.experiment.strategy.evaluations)


def test_equal_seeds_and_tells_give_equal_asks_on_a_real_space(plan):
    asked = [searched(strategy_of(plan, seed=5), plan.space)[0] for _ in range(2)]
    assert asked[0] == asked[1]


def test_continues_after_only_failed_trials_on_a_real_space(plan):
    whole = len(searched(strategy_of(plan), plan.space)[0])
    jobs, _ = searched(strategy_of(plan), plan.space, failed)
    assert len({job.key for job in jobs}) == len(jobs) == whole


def test_tells_must_match_asks_on_a_real_space(plan):
    strategy = strategy_of(plan)
    jobs = strategy.ask()
    trials = [scored(plan.space, job, number) for number, job in enumerate(jobs)]
    with pytest.raises(ValueError, match=f"ask must follow tell, but {len(jobs)} jobs"):
        strategy.ask()
    for wrong in (trials[:-1], [*trials, trials[0]]):
        with pytest.raises(ValueError, match=f"must match the {len(jobs)} jobs asked, in order"):
            strategy.tell(wrong)
    strategy.tell(trials)
