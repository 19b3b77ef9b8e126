"""DART's value iteration against brute force over decisions, and against the joint grid where it is exact."""

from itertools import product

import numpy as np
import pytest
from random_tables import lifelike

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.threshold_search.joint_grid import candidates, joint_grid
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.policies.threshold_search.value_iteration import (
    cut,
    dart_frontier,
    estimate,
    solve,
    value_iteration,
)
from aebnas.runtime.exit_policy import ExitPolicy


def random_model(seed, samples=40, exits=3, bins=2, groups=2):
    rng = np.random.default_rng(seed)
    bin_ne = rng.integers(0, bins, (samples, exits))
    group_n = rng.integers(0, groups, samples)
    group_n[:groups] = range(groups)
    earned_ne = (rng.random((samples, exits)) < 0.6) - 0.3 * np.linspace(0.2, 1, exits)
    return bin_ne, group_n, estimate(bin_ne, bins, group_n, earned_ne), earned_ne


def expected_reward(model, leaves_kab):
    """The mean reward of a fixed set of decisions, by following the chain forwards."""
    mass_ab = model.count_kab[0] / model.count_kab[0].sum()
    earned = 0.0
    for exit_, leaves_ab in enumerate(leaves_kab):
        earned += (mass_ab * leaves_ab * model.reward_eab[exit_]).sum()
        mass_ab = np.einsum("ab,abc->ac", mass_ab * ~leaves_ab, model.next_kabb[exit_])
    return earned + (mass_ab * model.reward_eab[-1]).sum()


def test_estimates_by_hand():
    bin_ne = np.array([[0, 1], [0, 1], [0, 0], [1, 1]])
    earned = np.array([[1.0, 0.5], [0.0, 0.5], [0.5, -0.5], [1.0, 0.5]])
    model = estimate(bin_ne, 2, np.array([0, 0, 0, 0]), earned)
    assert model.count_kab.tolist() == [[[3, 1]]]
    assert model.reward_eab.tolist() == [[[0.5, 1.0]], [[-0.5, 0.5]]]
    assert model.next_kabb[0, 0].tolist() == [[1 / 3, 2 / 3], [0, 1]]
    value, advantage = solve(model)
    # bin 0: leave 0.5 or continue 1/3 * -0.5 + 2/3 * 0.5; bin 1: leave 1.0 or continue 0.5
    assert value[0, 0].tolist() == [0.5, 1.0]
    assert advantage[0, 0].tolist() == pytest.approx([0.5 - 1 / 6, 0.5])


@pytest.mark.parametrize("seed", range(5))
def test_no_decisions_have_a_higher_reward(seed):
    bin_ne, group_n, model, _ = random_model(seed)
    value_eab, advantage_kab = solve(model)
    every = [
        expected_reward(model, np.array(decisions).reshape(model.count_kab.shape))
        for decisions in product([False, True], repeat=model.count_kab.size)
    ]
    assert expected_reward(model, advantage_kab > 0) == pytest.approx(max(every))
    assert value_eab[0][group_n, bin_ne[:, 0]].mean() == pytest.approx(max(every))


def test_a_cut_maximises_the_advantage():
    advantage, count = np.array([-1.0, 2.0, -0.5, 1.0]), np.array([5, 1, 2, 3])
    # from bin 0: -1, from 1: 4, from 2: 2, from 3: 3, never: 0
    assert cut(advantage, count) == 1
    assert cut(-np.ones(3), np.ones(3)) == 3
    assert cut(np.zeros(3), np.ones(3)) == 3
    assert cut(np.ones(3), np.ones(3)) == 0


def markov_table():
    """Three exits whose next score depends only on the current one: the model is exact."""
    levels, rows = np.array([0.2, 0.5, 0.9], np.float32), []
    for first, second, last in product(range(3), repeat=3):
        weight = 4 // (1 + abs(first - second)) * (4 // (1 + abs(second - last)))
        rows += [(first, second, last)] * weight
    score_index = np.array(rows)
    # the same correctness for all samples of a level, at each exit
    right = np.array([[0, 1, 1], [0, 0, 1], [0, 1, 1]], bool)
    correct = np.stack([right[exit_][score_index[:, exit_]] for exit_ in range(3)], 1)
    costs = ExitCosts((10, 20, 40), (1, 1, 1))
    scored = ThresholdProblem(levels[score_index[:, :2]], correct, costs, lambda values: ExitPolicy("margin", values))
    return scored, levels[score_index[:, 2]]


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.7, 1.0, 2.0])
def test_where_the_chain_is_exact_it_finds_the_best_thresholds(beta):
    scored, last = markov_table()

    def objective(thresholds):
        stops = np.ones((scored.samples, 3), bool)
        stops[:, :2] = scored.scores_nk > thresholds
        taken = stops.argmax(1)
        earned = scored.correct_ne - beta * scored.costs.to_exit_ne() / scored.full_cost
        return earned[np.arange(scored.samples), taken].mean()

    (found,) = value_iteration(scored, last, beta, bins=10)
    best = max(objective(np.array(vector)) for vector in product(*candidates(scored, 9)))
    assert objective(found) == pytest.approx(best)


def test_the_frontier_is_at_most_the_joint_grids():
    scored = lifelike(400, 4, 0)
    last = scored.scores_nk[:, -1]
    found, exact = dart_frontier(scored, last, bins=12), joint_grid(scored, 11)
    assert len(found.points) > 5
    for point in found.points:
        assert exact.within(point.cost).accuracy >= point.accuracy
    # and close to it
    for beta in (0.1, 0.3, 0.6):
        best, got = exact.best_for(beta), found.best_for(beta)
        gap = best.accuracy - got.accuracy - beta * (best.cost - got.cost) / exact.full_cost
        assert gap < 0.03
