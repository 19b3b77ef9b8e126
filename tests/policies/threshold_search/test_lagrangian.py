"""The Lagrangian sweep against the joint grid."""

import numpy as np
import pytest
from random_tables import lifelike, per_sample, random_table

from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.policies.threshold_search.lagrangian import lagrangian
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem

BETAS = np.linspace(0, 3, 101)


def hull(frontier):
    """The best J for each trade-off."""
    points = [frontier.best_for(beta) for beta in BETAS]
    return np.array([p.accuracy - b * p.cost / frontier.full_cost for p, b in zip(points, BETAS, strict=True)])


@pytest.mark.parametrize("samples, exits, per_exit", [(1, 2, 3), (40, 2, 9), (60, 3, 8), (300, 4, 9), (300, 5, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_the_hull_is_that_of_the_joint_grid(samples, exits, per_exit, seed):
    scored = lifelike(samples, exits, seed)
    exact, found = joint_grid(scored, per_exit), lagrangian(scored, per_exit)
    assert hull(found) == pytest.approx(hull(exact), abs=1e-12)
    # between the corners of the hull it may be slightly worse
    budgets = np.linspace(exact.points[0].cost, exact.points[-1].cost, 50)
    assert max(exact.within(b).accuracy - found.within(b).accuracy for b in budgets) <= 0.015


def test_the_hull_is_that_of_the_joint_grid_also_for_uninformative_scores():
    scored = ThresholdProblem.of(random_table(60, 4, 0), "entropy")
    assert hull(lagrangian(scored, 6)) == pytest.approx(hull(joint_grid(scored, 6)), abs=1e-12)


def test_the_hull_is_that_of_the_joint_grid_also_for_costs_per_sample():
    scored = per_sample(lifelike(80, 3, 1), 1)
    assert hull(lagrangian(scored, 8)) == pytest.approx(hull(joint_grid(scored, 8)), abs=1e-9)


def test_twelve_exits_give_the_same_frontier_every_time():
    scored = lifelike(300, 12, 0)
    found = lagrangian(scored, 8)
    assert found == lagrangian(scored, 8)
    assert (hull(found) >= hull(joint_grid(scored, 8)) - 1e-12).all()  # whose grid is coarser there
    for point in found.points[::10]:
        vector = np.array([[np.inf if value is None else value for value in point.policy.thresholds]], np.float32)
        figures = scored.evaluate(vector)
        assert (figures.accuracy_t[0], figures.cost_t[0]) == (point.accuracy, point.cost)


def test_without_early_exits_there_is_one_policy():
    scored = lifelike(20, 1, 0)
    (point,) = lagrangian(scored, 5).points
    assert point.accuracy == scored.correct_ne.mean()
