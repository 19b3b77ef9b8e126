"""The joint threshold search against brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.cost.counts import ExitCosts
from aebnas.objectives import SoftTarget
from aebnas.policy import thresholds as thresholds_module
from aebnas.policy.table import ExitTable, score_policy
from aebnas.policy.thresholds import (
    TunedPolicy,
    best_within,
    candidate_thresholds,
    frontier,
    joint_grid,
    tune_to_target,
)
from aebnas.runtime.decide import ExitPolicy

CRITERIA = ("margin", "entropy")


def random_table(samples, exits, seed):
    rng = np.random.default_rng(seed)
    scores = {
        "margin": rng.random((samples, exits), np.float32),
        "entropy": (rng.integers(0, 4, (samples, exits)) / 3).astype(np.float32),
    }
    costs = ExitCosts(tuple(np.cumsum(rng.integers(1, 99, exits)).tolist()), tuple(rng.integers(1, 50, exits).tolist()))
    return ExitTable(scores, rng.random((samples, exits)) < np.linspace(0.5, 0.9, exits), costs)


def policy_of(criterion, values):
    return ExitPolicy(criterion, tuple(None if np.isinf(value) else float(value) for value in values))


def combinations(table, criterion, per_exit):
    """The candidates of every exit, and the score of every combination in C order."""
    grid = [candidate_thresholds(table.scores[criterion][:, e], per_exit) for e in range(table.exits - 1)]
    return grid, [score_policy(table, policy_of(criterion, values)) for values in product(*grid)]


@pytest.mark.parametrize("block_cells", [1, 200, 50_000_000])
@pytest.mark.parametrize("exits", [1, 2, 3, 4])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_joint_grid_equals_brute_force(exits, criterion, block_cells, monkeypatch):
    monkeypatch.setattr(thresholds_module, "BLOCK_CELLS", block_cells)
    table = random_table(30, exits, seed=exits)
    grid, scores = combinations(table, criterion, 4)
    right, cost = joint_grid(table, criterion, grid)
    assert right.tolist() == [round(score.accuracy * 30) for score in scores]
    assert cost == pytest.approx([score.avg_macs * 30 for score in scores], rel=1e-12)


def test_joint_grid_holds_no_more_than_its_block(monkeypatch):
    """Beyond the block the work is split at every exit, not at the first alone."""
    table, seen, calls = random_table(20, 4, 0), [], thresholds_module.joint_grid
    monkeypatch.setattr(thresholds_module, "BLOCK_CELLS", 100)

    def spy(table, criterion, grid):
        seen.append(int(np.prod([len(candidates) for candidates in grid[:-1]])))
        return calls(table, criterion, grid)

    monkeypatch.setattr(thresholds_module, "joint_grid", spy)
    grid, _ = combinations(table, "margin", 4)
    spy(table, "margin", grid)
    # 6 candidates an exit: 36 prefixes x 20 samples, then 6 x 20, then 1 x 20
    assert seen.count(36) == 1 and seen.count(6) == 6 and seen.count(1) == 36


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 1000), st.integers(2, 5))
def test_the_frontier_is_what_brute_force_finds(samples, exits, seed, per_exit):
    table = random_table(samples, exits, seed)
    points = frontier(table, CRITERIA, per_exit, max_points=1000)
    every = [score for criterion in CRITERIA for score in combinations(table, criterion, per_exit)[1]]
    for point in points:
        score = score_policy(table, point.policy)
        assert point.accuracy == pytest.approx(score.accuracy, abs=1e-12)
        assert point.avg_macs == pytest.approx(score.avg_macs, rel=1e-12)
        assert not any(dominates(other, point) for other in every + points)
    assert [p.avg_macs for p in points] == sorted(p.avg_macs for p in points)
    assert len({(round(p.accuracy, 9), round(p.avg_macs, 6)) for p in points}) == len(points)
    best = max(score.accuracy for score in every)
    assert points[-1].accuracy == pytest.approx(best)
    assert points[0].avg_macs == pytest.approx(min(score.avg_macs for score in every))


def dominates(a, b, slack=1e-9):
    no_worse = a.accuracy >= b.accuracy - slack and a.avg_macs <= b.avg_macs + slack
    return no_worse and (a.accuracy > b.accuracy + slack or a.avg_macs < b.avg_macs - slack)


def test_a_thinned_frontier_keeps_both_ends():
    table = random_table(200, 3, seed=1)
    whole = frontier(table, ("margin",), 10, max_points=1000)
    thinned = frontier(table, ("margin",), 10, max_points=5)
    assert len(whole) > 5 == len(thinned)
    assert (thinned[0], thinned[-1]) == (whole[0], whole[-1])
    assert all(point in whole for point in thinned)


def test_many_exits_make_the_grid_coarser(monkeypatch):
    monkeypatch.setattr(thresholds_module, "MAX_COMBINATIONS", 30)
    sizes = []
    original = thresholds_module.joint_grid

    def spy(table, criterion, grid):
        sizes.append(np.prod([len(candidates) for candidates in grid]))
        return original(table, criterion, grid)

    monkeypatch.setattr(thresholds_module, "joint_grid", spy)
    assert frontier(random_table(50, 4, 0), ("margin",), per_exit=20, max_points=9)
    assert sizes == [27]  # 3 candidates an exit: 0, the median, never


def test_one_exit_gives_one_point():
    table = random_table(10, 1, 0)
    (point,) = frontier(table, CRITERIA, 5, 10)
    assert point.policy == ExitPolicy("margin", ())
    assert point.accuracy == pytest.approx(table.correct_ne.mean())


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 2**10) | st.integers(2**24 - 3, 2**24), min_size=1, max_size=60),
    st.integers(2, 100),
)
def test_candidates_lie_strictly_between_observed_scores(numbers, per_exit):
    """Also where scores pile up at 1.0, one float beside the other."""
    observed = (np.array(numbers) / 2**24).astype(np.float32)
    candidates = candidate_thresholds(observed, per_exit)
    assert candidates.dtype == np.float32
    assert candidates[0] == 0.0 and np.isinf(candidates[-1])
    inner = candidates[1:-1]
    assert len(inner) <= per_exit
    assert (np.diff(inner) > 0).all()
    assert not np.isin(inner, observed).any()
    assert ((inner > observed.min()) & (inner < observed.max())).all()


def test_candidates_by_hand():
    scores = np.array([0.2, 0.4, 0.4, 0.8], np.float32)
    assert candidate_thresholds(scores, 5).tolist() == pytest.approx([0.0, 0.3, 0.6, np.inf])
    # quantiles 1/4 and 3/4 of ten samples, nine of them crowded
    crowded = np.array([0.0, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98], np.float32)
    assert candidate_thresholds(crowded, 2).tolist() == pytest.approx([0.0, 0.915, 0.955, np.inf])


def test_best_within_a_budget():
    points = [TunedPolicy(ExitPolicy("margin", ()), a, m) for a, m in [(0.5, 10.0), (0.7, 20.0), (0.9, 30.0)]]
    assert best_within(points, 25.0) is points[1]
    assert best_within(points, 30.0) is points[2]
    assert best_within(points, 5.0) is points[0]


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
