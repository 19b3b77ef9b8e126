"""Threshold search for DART's Eq. 19: its policies score on their table as the search states."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.calibration.tuning import Rules
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.dart import DartSetting, dart_scores
from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.threshold_rules import DifficultyOffset
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec

COSTS = ExitCosts((40, 70, 100), (3, 4, 5))


DIFFICULTY = Difficulty(0.2, (1.0, 1.0, 1.0))


def table_of(samples, seed, alpha_n):
    rng = np.random.default_rng(seed)
    correct_ne = rng.random((samples, 3)) < [0.6, 0.8, 0.95]
    scores_ne = rng.random((samples, 3)).astype(np.float32)
    return ExitTable({"confidence": scores_ne}, correct_ne, {"macs": COSTS}).with_difficulty(
        DIFFICULTY, alpha_n.astype(np.float32), {"macs": 7}
    )


def search(scored):
    return joint_grid(scored, 8)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_policies_found_on_shifted_scores_score_as_stated(seed, beta_diff):
    alpha_n = np.random.default_rng(seed).random(60)
    table = table_of(60, seed, alpha_n)
    shifted = dart_scores(ThresholdProblem.of(table, "confidence"), DIFFICULTY, alpha_n, beta_diff, estimator_cost=7)
    for point in search(shifted).points:
        assert point.policy.find(DifficultyOffset) == DifficultyOffset(DIFFICULTY, beta_diff)
        figures = score_policy(table, point.policy)
        assert figures.accuracy == pytest.approx(point.accuracy, abs=1e-9)
        assert figures.avg_macs == pytest.approx(point.cost)


def test_an_estimate_with_a_fractional_cost_is_charged():
    """Milliseconds, for example, are not whole numbers as MACs are."""
    alpha_n = np.random.default_rng(0).random(60)
    costs = {"macs": COSTS, "latency_ms": ExitCosts((0.4, 0.7, 1.0), (0.03, 0.04, 0.05))}
    table = replace(table_of(60, 0, alpha_n), costs=costs, difficulty_costs={"macs": 7, "latency_ms": 0.3})
    rules = Rules(PolicySpec(), OptimiseSpec(per_exit=4), cost="latency_ms")
    for point in rules.find_dart(DartSetting(DIFFICULTY, 0.3, 0.0), table).points:
        assert point.cost == pytest.approx(score_policy(table, point.policy).mean_cost["latency_ms"])
        assert point.cost >= 0.43 + 0.3
