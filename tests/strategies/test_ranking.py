"""Selection among individuals with several points, computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.core.pareto import exclusive_hypervolume, front_ranks
from aebnas.strategies.ranking import select

NONE = np.zeros((0, 2))


def points(*rows):
    return np.array(rows, dtype=float)


def summary(survivors):
    return [(survivor.index, survivor.rank) for survivor in survivors]


# Pooled fronts: 0 is a (0, 4), b (1, 1), a (4, 0); 1 is c (2, 2), which b dominates; 2 is b (3, 3) and
# d (2.5, 5), which c dominates as well.
A, B, C, D = points([0, 4], [4, 0]), points([1, 1], [3, 3]), points([2, 2]), points([2.5, 5])


def test_an_individual_has_the_rank_of_its_best_point():
    survivors = select([D, C, B, A], [0.0] * 4, 4)
    assert dict(summary(survivors)) == {3: 0, 2: 0, 1: 1, 0: 2}


def test_contribution_is_the_hypervolume_exclusive_to_its_points():
    # Front 0 scaled by 4: a (0, 1) and (1, 0), b (1/4, 1/4); reference (1.1, 1.1).
    # b holds its square of 0.85 less the two strips of a: 0.85^2 - 2 * 0.85 * 0.1 + 0.1^2.
    # a's two points hold 1.1 * 0.1 each; b covers 0.85 * 0.1 of each.
    first, second = select([A, B], [0.0, 0.0], 2)
    assert (first.index, second.index) == (1, 0)
    assert first.contribution == pytest.approx(0.85**2 - 2 * 0.085 + 0.01)
    assert second.contribution == pytest.approx(2 * (0.11 - 0.085))


def test_two_points_together_hold_more_than_each_separately():
    # unscaled, reference 4.4: x's points separately hold 0.1 * 1.9 and 0.4 * 0.1, since each covers for the other,
    # but together 0.5 * 1.9 + 0.4 * 0.1 = 0.99. y holds 1.5 * 0.2 = 0.3, the extremes 0.8 and 0.72.
    x, y, low, high = points([2, 2.1], [2.1, 2]), points([2.5, 1.8]), points([0, 4]), points([4, 0])
    contributions = {s.index: s.contribution * 16 for s in select([low, x, y, high], [0.0] * 4, 4)}
    assert contributions == pytest.approx({0: 0.8, 1: 0.99, 2: 0.3, 3: 0.72})
    assert {s.index for s in select([low, x, y, high], [0.0] * 4, 3)} == {0, 1, 3}


def test_crowded_individuals_are_dropped_one_at_a_time():
    # p and q nearly coincide: each adds almost nothing to the other, but one of them must remain
    low, p, q, high = points([0, 4]), points([1, 1]), points([1.001, 0.999]), points([4, 0])
    survivors = {s.index for s in select([low, p, q, high], [0.0] * 4, 3)}
    assert survivors in ({0, 1, 3}, {0, 2, 3})
    # with r, all three at one point: again exactly one remains
    twins = [low, p, p, p, high]
    assert len({s.index for s in select(twins, [0.0] * 5, 3)} & {1, 2, 3}) == 1


def test_feasibility_comes_first_then_violation_then_failures():
    survivors = select([NONE, C, NONE, D, NONE], [0.3, 0.0, math.inf, 0.0, 0.1], 4)
    assert summary(survivors) == [(1, 0), (3, 1), (4, 2), (0, 3)]
    assert summary(select([NONE, NONE], [math.inf, 0.2], 5)) == [(1, 0), (0, 1)]


def test_a_front_of_equal_points_has_no_range():
    assert len(select([C, C, C], [0.0] * 3, 2)) == 2


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 8), st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_survivors_are_distinct_best_ranks_first_and_agree_with_full_recomputation(counts, n_survive, seed):
    rng = np.random.default_rng(seed)  # real-valued points, without ties that rounding might decide
    individuals = [rng.random((count, 2)) for count in counts]
    survivors = select(individuals, [0.0 if count else 1.0 for count in counts], n_survive)
    assert len({s.index for s in survivors}) == len(survivors) == min(n_survive, len(individuals))
    assert [s.rank for s in survivors] == sorted(s.rank for s in survivors)
    assert {s.index for s in survivors} == reference_selection(individuals, n_survive)


def reference_selection(individuals, n_survive):
    """The same rule without shortcuts: every contribution is computed again after each removal."""
    feasible = [i for i, rows in enumerate(individuals) if len(rows)]
    infeasible = [i for i, rows in enumerate(individuals) if not len(rows)]
    if len(feasible) <= n_survive:
        return {*feasible, *infeasible[: n_survive - len(feasible)]}
    pooled = np.concatenate([individuals[i] for i in feasible])
    owner = np.concatenate([np.full(len(individuals[i]), i) for i in feasible])
    ranks = front_ranks(pooled)
    best = {i: ranks[owner == i].min() for i in feasible}
    selected = set()
    for rank in range(len(pooled)):
        members = {i for i in feasible if best[i] == rank}
        on_front = ranks == rank
        rows, owners = pooled[on_front], owner[on_front]
        if len(selected) + len(members) <= n_survive:
            selected |= members
            continue
        scaled = (rows - rows.min(0)) / np.where(np.ptp(rows, 0) > 0, np.ptp(rows, 0), 1.0)
        while len(selected) + len(members) > n_survive:
            inside = np.isin(owners, list(members | selected))
            lost = dict(
                zip(
                    np.unique(owners[inside]).tolist(),
                    exclusive_hypervolume(scaled[inside], owners[inside], [1.1, 1.1]),
                    strict=True,
                )
            )
            members.remove(min(members, key=lost.__getitem__))
        return selected | members
    return selected
