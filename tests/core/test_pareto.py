"""pareto against brute force, for one to four objectives."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aebnas.core.pareto import exclusive_hypervolume, front_ranks, hypervolume, knee, nondominated, share_dominated

# Small integers, so that ties and duplicates are common.
point_sets = st.integers(1, 4).flatmap(
    lambda m: st.integers(1, 7).flatmap(lambda p: arrays(float, (p, m), elements=st.integers(-3, 4).map(float)))
)


def dominates(a, b):
    return bool(np.all(a <= b) and np.any(a < b))


def hypervolume_by_inclusion_exclusion(points, reference):
    total = 0.0
    for size in range(1, len(points) + 1):
        for subset in combinations(points, size):
            sides = np.maximum(reference - np.max(subset, axis=0), 0.0)
            total += (-1) ** (size + 1) * np.prod(sides)
    return total


@given(point_sets)
@settings(deadline=None, max_examples=50)
def test_nondominated_is_dominance_by_definition_keeping_first_duplicates(points):
    expected = [
        not any(dominates(q, p) for q in points) and not any(np.array_equal(q, p) for q in points[:i])
        for i, p in enumerate(points)
    ]
    assert nondominated(points).tolist() == expected


@given(point_sets)
@settings(deadline=None, max_examples=50)
def test_front_ranks_equal_repeated_removal_of_fronts(points):
    expected, left, rank = np.full(len(points), -1), set(range(len(points))), 0
    while left:
        peeled = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        expected[list(peeled)] = rank
        left, rank = left - peeled, rank + 1
    assert front_ranks(points).tolist() == expected.tolist()


@given(point_sets)
@settings(deadline=None, max_examples=50)
def test_hypervolume_equals_inclusion_exclusion(points):
    reference = np.full(points.shape[1], 2.5)  # some points are beyond it
    assert hypervolume(points, reference) == pytest.approx(hypervolume_by_inclusion_exclusion(points, reference))


@given(point_sets, st.data())
@settings(deadline=None, max_examples=50)
def test_exclusive_hypervolume_is_the_loss_by_a_groups_removal(points, data):
    groups = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(points), max_size=len(points))))
    reference = np.full(points.shape[1], 5.0)
    whole = hypervolume_by_inclusion_exclusion(points, reference)
    expected = [
        whole - hypervolume_by_inclusion_exclusion(points[groups != group], reference) for group in np.unique(groups)
    ]
    assert exclusive_hypervolume(points, groups, reference) == pytest.approx(expected, abs=1e-9)


def test_exclusive_hypervolume_by_hand():
    # A holds (1, 3) and (2, 2), B holds (3, 1); together 3 + 2 + 1 = 6 squares below (4, 4).
    points, groups = [[1, 3], [2, 2], [3, 1]], ["a", "a", "b"]
    assert hypervolume(points, [4, 4]) == 6.0
    assert exclusive_hypervolume(points, groups, [4, 4]).tolist() == [3.0, 1.0]


def test_no_points():
    assert hypervolume(np.zeros((0, 2)), [1, 1]) == 0.0
    assert nondominated(np.zeros((0, 2))).shape == front_ranks(np.zeros((0, 2))).shape == (0,)


def test_every_point_needs_a_group():
    with pytest.raises(ValueError, match="one group for each of 2 points, but got 1"):
        exclusive_hypervolume([[1, 2], [2, 1]], [0], [3, 3])


def test_the_share_that_another_front_dominates():
    points, by = [[1, 3], [2, 2], [3, 1], [9, 9]], [[1, 3], [2, 1]]
    assert share_dominated(points, by) == 0.75  # (1, 3) is equalled, not dominated
    assert share_dominated(by, points) == 0.0
    assert share_dominated(points, points[:1]) == 0.25


def test_the_knee_does_not_depend_on_units():
    points = np.array([[0.0, 10.0], [1.0, 2.0], [9.0, 0.0]])
    assert knee(points) == knee(points * [1, 1e6] + [5, 0]) == 1
    assert knee(points[:1]) == 0
