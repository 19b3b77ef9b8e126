"""The risk promise: p-values by hand, the order of tests, and 1,000 redraws."""

from dataclasses import replace
from math import comb, exp, log

import numpy as np
import pytest
from random_tables import lifelike
from scipy.stats import binom

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.calibration.risk_control import (
    binomial_p_value,
    certify,
    hoeffding_bentkus_p_value,
    keeps_final_answer,
    losses,
    ordered_by_risk,
)
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.runtime.exit_policy import ExitPolicy

REDRAWS = 1000


def table_of(scored, rows=slice(None)):
    scores = np.concatenate([scored.scores_nk, np.ones((scored.samples, 1), np.float32)], 1)
    return ExitTable({"margin": scores[rows]}, scored.correct_ne[rows], {"macs": scored.costs})


def risk_problem(scored):
    """The problem whose accuracy is 1 - risk."""
    return replace(scored, correct_ne=keeps_final_answer(scored.correct_ne))


def test_p_values_by_hand():
    # at most one loss of 10 at a risk of 0.2
    exact = 0.8**10 + 10 * 0.2 * 0.8**9
    assert binomial_p_value(1, 10, 0.2) == pytest.approx(exact)
    assert binomial_p_value(0, 50, 0.05) == pytest.approx(0.95**50)
    divergence = 0.1 * log(0.1 / 0.2) + 0.9 * log(0.9 / 0.8)
    assert hoeffding_bentkus_p_value(0.1, 10, 0.2) == pytest.approx(min(exp(-10 * divergence), exp(1) * exact))
    assert hoeffding_bentkus_p_value(0.0, 10, 0.2) == pytest.approx(0.8**10)
    assert hoeffding_bentkus_p_value(0.2, 10, 0.2) == hoeffding_bentkus_p_value(0.9, 10, 0.2) == 1.0


def test_p_values_are_valid():
    """At a true risk of epsilon, the probability of a p-value up to u is at most u."""
    samples, epsilon = 40, 0.1
    chances = np.array([comb(samples, k) * epsilon**k * (1 - epsilon) ** (samples - k) for k in range(samples + 1)])
    exact = np.array([binomial_p_value(k, samples, epsilon) for k in range(samples + 1)])
    bound = np.array([hoeffding_bentkus_p_value(k / samples, samples, epsilon) for k in range(samples + 1)])
    for level in (0.01, 0.05, 0.1, 0.3):
        assert chances[exact <= level].sum() <= level + 1e-12
        assert chances[bound <= level].sum() <= level + 1e-12
    assert (bound >= exact - 1e-12).all()  # the bound for any losses is weaker


def test_only_predictions_that_the_full_network_has_right_can_be_lost():
    correct = np.array([[0, 1], [0, 0], [1, 0], [1, 1]], bool)
    assert keeps_final_answer(correct).tolist() == [[False, True], [True, True], [True, True], [True, True]]
    table = ExitTable({"margin": np.ones((4, 2), np.float32)}, correct, {"macs": ExitCosts((1, 2), (0, 0))})
    assert losses(table, ExitPolicy("margin", (0.5,))).tolist() == [True, False, False, False]
    assert not losses(table, ExitPolicy("margin", (None,))).any()


def test_candidates_are_ordered_by_risk():
    scored = lifelike(500, 3, 0)
    found = joint_grid(risk_problem(scored), 10)
    table = table_of(scored)
    risks = [losses(table, policy).mean() for policy in ordered_by_risk(found)]
    costs = [score_policy(table, policy).avg_macs for policy in ordered_by_risk(found)]
    assert risks == sorted(risks) and costs == sorted(costs, reverse=True)
    assert all(1 - point.accuracy == pytest.approx(losses(table, point.policy).mean()) for point in found.points)


def staircase():
    """100 samples that the full network has right; at threshold t / 100 those from t on leave, wrong below 30."""
    scores = np.stack([(np.arange(100) + 0.5) / 100, np.ones(100)], 1).astype(np.float32)
    correct = np.stack([np.arange(100) >= 30, np.ones(100, bool)], 1)
    return ExitTable({"margin": scores}, correct, {"macs": ExitCosts((1, 2), (0, 0))})


def test_the_last_candidate_before_the_first_that_fails_is_selected():
    policies = [ExitPolicy("margin", (value,)) for value in (0.5, 0.3, 0.28, 0.1, 0.4)]
    promise = certify(policies, staircase(), epsilon=0.1, delta=0.1)
    assert [test.losses for test in promise.tested] == [0, 0, 2, 20]
    assert [test.p_binomial for test in promise.tested] == pytest.approx(binom.cdf([0, 0, 2, 20], 100, 0.1))
    assert (promise.policy, promise.passed, promise.candidates) == (policies[2], 3, 5)  # the fifth is never tested
    record = promise.to_json()
    assert (record["n"], record["epsilon"], record["delta"], record["passed"]) == (100, 0.1, 0.1, 3)
    assert record["policy"] == policies[2].to_json() and len(record["tests"]) == 4
    assert "at least 0.9 over the draw of 100 certify samples" in record["promise"]


def test_where_no_candidate_passes_the_full_network_is_selected():
    promise = certify([ExitPolicy("margin", (0.1,))], staircase(), epsilon=0.1, delta=0.1)
    assert (promise.policy, promise.passed) == (ExitPolicy("margin", (None,)), 0)
    assert "no input leaves early" in str(promise)


def redrawn(scored, policies, population, samples, epsilon, delta, seed):
    """Share of redraws of a certify split in which the promise is broken, and the mean number that passed."""
    whole = table_of(scored)
    lost_kn = np.stack([losses(whole, policy) for policy in policies])
    true_risk = [*lost_kn[:, :population].mean(1), 0.0]
    rng = np.random.default_rng(seed)
    broken, passed = 0, 0
    for draw in range(REDRAWS):
        rows = rng.integers(0, population, samples)
        tested = binom.cdf(lost_kn[:, rows].sum(1), samples, epsilon) <= delta
        count = int(np.append(tested, False).argmin())
        if draw < 20:  # for the other draws the tests above replace certify, which would be slow
            assert certify(policies, table_of(scored, rows), epsilon, delta).passed == count
        broken += true_risk[count - 1] > epsilon
        passed += count
    return broken / REDRAWS, passed / REDRAWS


@pytest.mark.parametrize("epsilon, delta, samples", [(0.05, 0.1, 300), (0.02, 0.2, 500), (0.1, 0.05, 100)])
def test_the_promise_is_broken_at_most_as_often_as_delta(epsilon, delta, samples):
    scored = lifelike(8000, 4, 7)
    found = joint_grid(risk_problem(scored.rows(slice(0, 1000))), 12)
    policies = ordered_by_risk(found)
    share, passed = redrawn(scored, policies, 8000, samples, epsilon, delta, seed=1)
    allowance = 3 * np.sqrt(delta * (1 - delta) / REDRAWS)
    assert share <= delta + allowance
    assert 0 < passed < len(policies)  # some candidates pass, but not all


def test_a_candidate_slightly_too_risky_passes_about_as_often_as_delta():
    """The exact test isn't conservative: at a risk of epsilon nearly all of delta is used."""
    samples, epsilon, delta = 1000, 0.05, 0.1
    losses_k = np.random.default_rng(0).binomial(samples, epsilon * 1.0001, REDRAWS)
    broken = np.mean([binomial_p_value(int(k), samples, epsilon) <= delta for k in losses_k])
    assert 0.06 < broken <= delta + 3 * np.sqrt(delta * (1 - delta) / REDRAWS)


@pytest.mark.parametrize("epsilon, delta", [(0, 0.1), (1, 0.1), (0.1, 0), (0.1, 1.5)])
def test_invalid_arguments_are_refused(epsilon, delta):
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
        certify([ExitPolicy("margin", (0.5,))], staircase(), epsilon, delta)
    with pytest.raises(ValueError, match="candidates and samples must be at least 1 each"):
        certify([], staircase(), 0.1, 0.1)
