"""Goals of a user, parsed and applied to a frontier."""

import pytest

from aebnas.core.errors import UserError
from aebnas.policies.threshold_search.frontier import Frontier, TunedPolicy
from aebnas.policies.threshold_search.goal import Goal
from aebnas.runtime.exit_policy import ExitPolicy

POLICIES = [ExitPolicy("margin", (threshold,)) for threshold in (0.1, 0.5, None)]
FOUND = Frontier(
    tuple(TunedPolicy(p, a, c) for p, a, c in zip(POLICIES, (0.6, 0.8, 0.9), (10.0, 40.0, 100.0), strict=True)), 100.0
)


@pytest.mark.parametrize(
    "words, chosen, text",
    [
        ({"accuracy_target": 0.7}, 1, "accuracy >= 0.7"),
        ({"budget": "avg_macs=45"}, 1, "avg_macs <= 45"),
        ({"beta": 0.0}, 2, "beta 0"),
        ({"beta": 0.5}, 1, "beta 0.5"),  # 0.55, 0.6, 0.4
    ],
)
def test_the_policy_selected_for_each_kind_of_goal(words, chosen, text):
    goal = Goal.read(**words)
    assert goal.choose(FOUND).policy == POLICIES[chosen]
    assert str(goal) == text and goal.missed(FOUND) == ""


def test_a_goal_that_cannot_be_reached_is_reported():
    assert "most accurate has 0.9000 and is used" in Goal.read(accuracy_target=0.95).missed(FOUND)
    assert "cheapest has 10 and is used" in Goal.read(budget="avg_macs=5").missed(FOUND)


def test_a_risk_and_another_cost():
    assert Goal.read(risk="0.01,0.05").risk == (0.01, 0.05)
    assert Goal.read(budget="latency_ms=3").cost == "latency_ms"


@pytest.mark.parametrize(
    "words, message",
    [
        ({}, "exactly one of --accuracy-target, --budget, --beta, --risk must be given, but got none"),
        ({"beta": 1.0, "risk": "0.1,0.1"}, "but got --beta and --risk"),
        ({"accuracy_target": 85}, r"--accuracy-target must be a fraction in \(0, 1\], but got 85"),
        ({"budget": "8e6"}, "--budget must read METRIC=NUMBER, such as avg_macs=8e6, but got '8e6'"),
        ({"budget": "avg_macs=few"}, "--budget must read METRIC=NUMBER"),
        ({"budget": "avg_macs=-1"}, "--budget must be a finite number above 0, but got -1"),
        ({"beta": -1.0}, "--beta must be a finite number of at least 0, but got -1"),
        ({"risk": "0.01"}, "--risk must read EPSILON,DELTA, such as 0.01,0.05, but got '0.01'"),
        ({"risk": "0.01,1.5"}, r"--risk must be two numbers in \(0, 1\), but got 0.01,1.5"),
    ],
)
def test_invalid_goals_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        Goal.read(**words)
