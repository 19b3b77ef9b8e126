"""The frontier that a search asks for, and AEBNAS's threshold grid."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import random_table

from aebnas.objectives import SoftTarget
from aebnas.policy import grid as grid_module
from aebnas.policy.costs import SampleCosts
from aebnas.policy.table import ExitTable, score_policy
from aebnas.policy.thresholds import frontier, tune_to_target
from aebnas.runtime.decide import ExitPolicy

CRITERIA = ("margin", "entropy")


def test_criteria_share_one_frontier():
    table = random_table(100, 3, 0)
    whole = frontier(table, CRITERIA, 8, 1000)
    assert {point.policy.criterion for point in whole.points} == set(CRITERIA)
    for criterion in CRITERIA:
        for point in frontier(table, (criterion,), 8, 1000).points:
            assert whole.within(point.cost).accuracy >= point.accuracy
    assert len(frontier(table, CRITERIA, 8, 5).points) == 5


def test_what_does_not_fit_a_grid_is_searched_all_the_same(monkeypatch):
    table = random_table(60, 3, 0)
    exact = frontier(table, CRITERIA, 8, 1000)
    monkeypatch.setattr(grid_module, "MAX_COMBINATIONS", 99)
    found = frontier(table, CRITERIA, 8, 1000)
    assert found.points[0] == exact.points[0]
    assert found.points[-1].accuracy == exact.points[-1].accuracy
    for beta in np.linspace(0, 2, 21):
        best, got = exact.best_for(beta), found.best_for(beta)
        assert got.accuracy - beta * got.cost / found.full_cost == pytest.approx(
            best.accuracy - beta * best.cost / exact.full_cost
        )


def test_any_cost_metric():
    table = random_table(50, 3, 0)
    rng = np.random.default_rng(0)
    latency = SampleCosts(np.cumsum(rng.random((50, 3)), 1), rng.random((50, 3)))
    table = ExitTable(table.scores, table.correct_ne, {**table.costs, "latency_ms": latency})
    for metric in table.costs:
        for point in frontier(table, ("margin",), 6, 100, metric).points:
            assert score_policy(table, point.policy).mean_cost[metric] == pytest.approx(point.cost)


def test_one_exit_gives_one_point():
    table = random_table(10, 1, 0)
    (point,) = frontier(table, CRITERIA, 5, 10).points
    assert point.policy == ExitPolicy("margin", ())
    assert point.accuracy == pytest.approx(table.correct_ne.mean())


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    exits=st.integers(1, 4),
    value=st.floats(20.0, 400.0),
    weight=st.sampled_from([0.0, 0.1, 3.0]),
)
def test_tuning_to_a_target_agrees_with_a_loop_over_the_grid(seed, exits, value, weight):
    table = random_table(30, exits, seed)
    target, choices = SoftTarget("avg_macs", value, weight), (0.1, None, 0.5)

    def goal(policy):
        scored = score_policy(table, policy)
        return 100 * (1 - scored.accuracy) + weight * 100 * abs(scored.avg_macs - value) / value

    grid = [ExitPolicy(c, t) for c in CRITERIA for t in product(choices, repeat=exits - 1)]
    tuned = tune_to_target(table, CRITERIA, choices, target)
    assert tuned in grid
    assert goal(tuned) == pytest.approx(min(map(goal, grid)), abs=1e-9)
