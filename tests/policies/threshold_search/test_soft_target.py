"""AEBNAS's threshold grid."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import random_table

from aebnas.core.metrics import SoftTarget
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.soft_target import tune_to_target
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.min_exits import MinExits

CRITERIA = ("margin", "entropy")


@settings(deadline=None, max_examples=40)
@given(
    min_exits=st.sampled_from([MinExits(), MinExits(1), MinExits(1, (1, 2, 3)), MinExits(0, (0, 1, 2))]),
    seed=st.integers(0, 2**31),
    exits=st.integers(1, 4),
    value=st.floats(20.0, 400.0),
    weight=st.sampled_from([0.0, 0.1, 3.0]),
)
def test_tuning_to_a_target_agrees_with_a_loop_over_the_grid(min_exits, seed, exits, value, weight):
    predicted_ne = np.random.default_rng(seed).integers(0, 3, (30, exits))
    table = replace(random_table(30, exits, seed), predicted_ne=predicted_ne)
    target, choices = SoftTarget("avg_macs", value, weight), (0.1, None, 0.5)

    def goal(policy):
        scored = score_policy(table, policy)
        return 100 * (1 - scored.accuracy) + weight * 100 * abs(scored.avg_macs - value) / value

    grid = [ExitPolicy(c, t, rules=min_exits.rules) for c in CRITERIA for t in product(choices, repeat=exits - 1)]
    tuned = tune_to_target(table, CRITERIA, choices, target, min_exits)
    assert tuned in grid
    assert goal(tuned) == pytest.approx(min(map(goal, grid)), abs=1e-9)
