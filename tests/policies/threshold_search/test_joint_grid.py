"""The joint grid against brute force, and its candidate thresholds."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import plainly, random_table

from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search import joint_grid as grid_module
from aebnas.policies.threshold_search.joint_grid import (
    candidate_thresholds,
    candidates,
    combinations,
    grid_fits,
    joint_grid,
)
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(0, 1000),
    st.integers(2, 4),
    st.sampled_from(["margin", "entropy"]),
)
def test_the_frontier_equals_that_of_brute_force(samples, exits, seed, per_exit, criterion):
    table = random_table(samples, exits, seed)
    scored = ThresholdProblem.of(table, criterion)
    points = joint_grid(scored, per_exit).points
    every = [plainly(scored, vector) for vector in product(*candidates(scored, per_exit))]
    every = {(right / samples, charged / samples) for right, _, charged, _ in every}
    best = [(a, c) for a, c in every if not any((a2 >= a and c2 <= c and (a2, c2) != (a, c)) for a2, c2 in every)]
    assert [(point.accuracy, point.cost) for point in points] == sorted(best, key=lambda pair: pair[1])
    for point in points:
        score = score_policy(table, point.policy)
        assert (score.accuracy, score.avg_macs) == (point.accuracy, pytest.approx(point.cost, rel=1e-12))


def test_combinations_vary_fastest_at_the_last_exit():
    grid = [np.array([0.1, 0.2]), np.array([0.3, np.inf])]
    assert combinations(grid).tolist() == np.array(list(product(*grid)), np.float32).tolist()
    assert combinations([]).shape == (1, 0)


def test_many_exits_make_the_grid_coarser(monkeypatch):
    monkeypatch.setattr(grid_module, "MAX_COMBINATIONS", 30)
    scored = ThresholdProblem.of(random_table(50, 4, 0), "margin")
    sizes, original = [], ThresholdProblem.evaluate

    def spy(self, thresholds):
        sizes.append(len(thresholds))
        return original(self, thresholds)

    monkeypatch.setattr(ThresholdProblem, "evaluate", spy)
    assert joint_grid(scored, per_exit=20)
    assert sizes == [27]  # 3 candidates an exit: 0, the median, never
    assert [grid_fits(scored, per_exit) for per_exit in (1, 2)] == [True, False]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 2**10) | st.integers(2**24 - 3, 2**24), min_size=1, max_size=60),
    st.integers(2, 100),
)
def test_candidates_are_strictly_between_observed_scores(numbers, per_exit):
    """Also where scores concentrate near 1.0, in neighbouring floats."""
    observed = (np.array(numbers) / 2**24).astype(np.float32)
    found = candidate_thresholds(observed, per_exit)
    assert found.dtype == np.float32
    assert np.isinf(found[-1]) and (found[0] == 0.0 or (observed == 0).all())
    inner = found[1:-1]
    assert len(inner) <= per_exit
    assert (np.diff(inner) > 0).all()
    assert not np.isin(inner, observed).any()
    assert ((inner > observed.min()) & (inner < observed.max())).all()


def test_candidates_by_hand():
    scores = np.array([0.2, 0.4, 0.4, 0.8], np.float32)
    assert candidate_thresholds(scores, 5).tolist() == pytest.approx([0.0, 0.3, 0.6, np.inf])
    assert candidate_thresholds(scores - 1, 5, lowest=-1).tolist() == pytest.approx([-1.0, -0.7, -0.4, np.inf])
    assert candidate_thresholds(scores, 5, lowest=0.4).tolist() == pytest.approx([0.4, np.inf])
    assert candidate_thresholds(scores, 5, lowest=0.8).tolist() == [np.inf]  # no sample can leave
    # samples that score 0 leave nowhere, so quantiles are of the others
    masked = np.array([0.0, 0.0, 0.0, 0.0, *scores], np.float32)
    assert candidate_thresholds(masked, 5).tolist() == candidate_thresholds(scores, 5).tolist()
    # quantiles 1/4 and 3/4 of ten samples, nine of them close together
    close_together = np.array([0.01, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98], np.float32)
    assert candidate_thresholds(close_together, 2).tolist() == pytest.approx([0.0, 0.915, 0.955, np.inf])
