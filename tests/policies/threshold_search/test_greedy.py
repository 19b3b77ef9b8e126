"""Greedy thresholds by hand, and against the joint grid of the same candidates."""

import numpy as np
import pytest
from random_tables import lifelike

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.threshold_search.greedy import greedy
from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy


def test_greedy_by_hand():
    scores = np.array([[0.9, 0.5], [0.8, 0.9], [0.7, 0.2], [0.6, 0.8], [0.1, 0.3]], np.float32)
    correct = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 1, 1]], bool)
    costs = ExitCosts((1, 2, 3), (0, 0, 0))
    scored = ThresholdProblem(scores, correct, costs, lambda values: ExitPolicy("margin", values))
    (all_right,) = greedy(scored, targets=[1.0]).points
    # 0 and 1 leave at exit 1 (all right); at exit 2, 3 is the most confident of the rest and wrong, but 2, 3, 4 have
    # one wrong of three: never
    assert all_right.policy.thresholds == (pytest.approx(0.75), None)
    (most_right,) = greedy(scored, targets=[0.75]).points
    # from 0.6 up three of four are right at exit 1; only 4 is left, and right at exit 2
    assert most_right.policy.thresholds == (pytest.approx(0.35), 0.0)
    assert (most_right.accuracy, most_right.cost) == (0.8, 1.2)


@pytest.mark.parametrize("seed", range(3))
def test_no_greedy_policy_is_better_than_the_joint_grid_of_the_same_candidates(seed):
    scored = lifelike(300, 3, seed)
    exact, found = joint_grid(scored, 20), greedy(scored, per_exit=20)
    assert len(found.points) > 3
    for point in found.points:
        assert exact.within(point.cost).accuracy >= point.accuracy


def test_without_early_exits_there_is_one_policy():
    scored = lifelike(30, 1, 0)
    assert len(greedy(scored).points) == 1
