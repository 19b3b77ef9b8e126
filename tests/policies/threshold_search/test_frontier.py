"""The points of a frontier, and the three ways to select one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_tables import random_table

from aebnas.policies.threshold_search.frontier import Frontier, TunedPolicy, merged
from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem

POINTS = Frontier(tuple(TunedPolicy(name, a, c) for name, a, c in [("a", 0.5, 10), ("b", 0.7, 20), ("c", 0.9, 50)]), 60)


def test_most_accurate_within_a_budget():
    assert [POINTS.within(budget).policy for budget in (5, 10, 19.9, 25, 50, 99)] == ["a", "a", "a", "b", "c", "c"]


def test_cheapest_at_an_accuracy():
    assert [POINTS.at_accuracy(target).policy for target in (0, 0.5, 0.6, 0.7, 0.9, 0.95)] == [*"aabbcc"]


def test_best_for_a_trade_off():
    # J = accuracy - beta * cost / 60: a and b are equal at 1.2, b and c at 0.4
    assert [POINTS.best_for(beta).policy for beta in (0, 0.39, 0.41, 1.19, 1.21, 9)] == [*"ccbbaa"]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_dominated_points_are_dropped_and_of_ties_the_first_stays(pairs):
    found = Frontier.of((TunedPolicy(i, a / 6, float(c)) for i, (a, c) in enumerate(pairs)), 6)
    expected = [
        i
        for i, (a, c) in enumerate(pairs)
        if not any(a2 >= a and c2 <= c and ((a2, c2) != (a, c) or j < i) for j, (a2, c2) in enumerate(pairs) if j != i)
    ]
    assert sorted(point.policy for point in found.points) == expected
    costs = [point.cost for point in found.points]
    assert costs == sorted(costs) and len(set(costs)) == len(costs)


def test_a_thinned_frontier_keeps_both_ends():
    whole = joint_grid(ThresholdProblem.of(random_table(200, 3, seed=1), "margin"), 10)
    thinned = whole.thinned(5)
    assert len(whole.points) > 5 == len(thinned.points)
    assert (thinned.points[0], thinned.points[-1]) == (whole.points[0], whole.points[-1])
    assert set(thinned.points) < set(whole.points)
    assert whole.thinned(10_000) is whole


def test_frontiers_are_merged_into_one():
    table = random_table(100, 3, seed=2)
    each = [joint_grid(ThresholdProblem.of(table, criterion), 8) for criterion in ("margin", "entropy")]
    both = merged(each)
    assert {point.policy.criterion for point in both.points} == {"margin", "entropy"}
    for budget in range(20, 300, 20):
        assert both.within(budget).accuracy >= max(
            (one.within(budget).accuracy for one in each if one.within(budget).cost <= budget), default=0
        )


def test_an_empty_frontier_is_refused():
    with pytest.raises(ValueError, match="at least one point"):
        Frontier((), 1.0)
