"""DART on tables: Eq. 19 as a shifted score, and a difficulty that is told to matter only where it does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.cost.exit_costs import ExitCosts
from aebnas.data.image_set import ImageSet
from aebnas.policies.calibration.tuning import Rules
from aebnas.policies.exit_table.difficulty_fit import (
    alphas,
    estimator_latency_ms,
    fit_difficulty,
    random_weights,
    raw_terms,
)
from aebnas.policies.exit_table.exit_table import ExitTable, score_policy
from aebnas.policies.threshold_search.dart import DartSetting, dart_scores, tune_dart, tune_weights
from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.difficulty import Difficulty, estimator_macs
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
def test_what_a_search_on_shifted_scores_promises_the_policies_keep(seed, beta_diff):
    alpha_n = np.random.default_rng(seed).random(60)
    table = table_of(60, seed, alpha_n)
    shifted = dart_scores(ThresholdProblem.of(table, "confidence"), DIFFICULTY, alpha_n, beta_diff, estimator_cost=7)
    for point in search(shifted).points:
        assert point.policy.find(DifficultyOffset) == DifficultyOffset(DIFFICULTY, beta_diff)
        figures = score_policy(table, point.policy)
        assert figures.accuracy == pytest.approx(point.accuracy, abs=1e-9)
        assert figures.avg_macs == pytest.approx(point.cost)


def test_an_estimate_that_takes_a_fraction_is_charged():
    """Of milliseconds, say, which are no whole numbers as MACs are."""
    alpha_n = np.random.default_rng(0).random(60)
    costs = {"macs": COSTS, "latency_ms": ExitCosts((0.4, 0.7, 1.0), (0.03, 0.04, 0.05))}
    table = replace(table_of(60, 0, alpha_n), costs=costs, difficulty_costs={"macs": 7, "latency_ms": 0.3})
    rules = Rules(PolicySpec(), OptimiseSpec(per_exit=4), cost="latency_ms")
    for point in rules.find_dart(DartSetting(DIFFICULTY, 0.3, 0.0), table).points:
        assert point.cost == pytest.approx(score_policy(table, point.policy).mean_cost["latency_ms"])
        assert point.cost >= 0.43 + 0.3


def hard_ones_mislead(samples=600, seed=0):
    """On hard images the first exit is as confident as on easy ones, and wrong; what is hard is told by term 0."""
    rng = np.random.default_rng(seed)
    hard_n = rng.random(samples) < 0.5
    terms_n3 = torch.tensor(np.stack([hard_n, rng.random(samples), rng.random(samples)], 1), dtype=torch.float64)
    scores_nk = rng.uniform(0.5, 0.9, (samples, 1)).astype(np.float32)
    correct_ne = np.stack([~hard_n, np.ones(samples, bool)], 1)
    scored = ThresholdProblem.of(
        ExitTable({"confidence": np.repeat(scores_nk, 2, 1)}, correct_ne, {"macs": ExitCosts((20, 100), (0, 0))}),
        "confidence",
    )
    return scored, terms_n3


def test_tuning_finds_the_factor_and_the_weights_where_difficulty_says_something():
    scored, terms_n3 = hard_ones_mislead()
    only_noise = Difficulty(0.2, (1.0, 1.0, 1.0), (0.0, 0.5, 0.5))
    blind = tune_dart(scored, [only_noise], terms_n3, search, beta_opt=0.3, folds=3)
    weighed = tune_weights(scored, only_noise, terms_n3, search, 0.3, beta_diff=0.5, trials=8, folds=3)
    assert weighed.difficulty.weights[0] > 0.4
    assert weighed.objective > blind.objective + 0.05
    chosen = tune_dart(scored, [weighed.difficulty], terms_n3, search, beta_opt=0.3, folds=3)
    assert chosen.beta_diff >= 0.3


def test_a_difficulty_that_says_nothing_is_switched_off_when_it_costs_something():
    scored, terms_n3 = hard_ones_mislead()
    noise = terms_n3[torch.randperm(len(terms_n3), generator=torch.Generator().manual_seed(1))]
    chosen = tune_dart(scored, [DIFFICULTY], noise, search, beta_opt=0.3, betas=(0.0, 0.4), folds=3)
    assert chosen.beta_diff == 0.0


def test_more_folds_than_samples_are_refused():
    scored, terms_n3 = hard_ones_mislead(4)
    with pytest.raises(ValueError, match="but got 5, 4"):
        tune_dart(scored, [DIFFICULTY], terms_n3, search, 0.3)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 12, 12), generator=generator, dtype=torch.uint8)
    pixels[:10] = 128  # flat ones
    return ImageSet.of(pixels, torch.zeros(40, dtype=torch.int64), 2)


def test_terms_reach_one_at_their_99th_percentile(images):
    difficulty = fit_difficulty(images)
    terms_n3 = raw_terms(images, difficulty.tau_edge).numpy()
    assert list(difficulty.scales) == pytest.approx(np.percentile(terms_n3, 99, axis=0).tolist())
    alpha_n = alphas(images, difficulty)
    assert (alpha_n[:10] == 0).all() and (alpha_n[10:] > 0.5).all() and alpha_n.max() <= 1
    assert alpha_n.tolist() == difficulty.alpha(images.pixels()).tolist()


def test_flat_images_give_an_estimator_all_the_same_and_none_give_an_error(images):
    flat = images.subset(torch.arange(10))
    assert fit_difficulty(flat).scales == (1.0, 1.0, 1.0)
    assert (alphas(flat, fit_difficulty(flat)) == 0).all()
    with pytest.raises(ValueError, match="at least one image"):
        fit_difficulty(images.subset(torch.arange(0)))


def test_random_weights_begin_with_the_given_ones_and_sum_to_one():
    drawn = list(random_weights(DIFFICULTY, 5, seed=2))
    assert drawn[0] == DIFFICULTY and len(drawn) == 6
    assert all(sum(each.weights) == pytest.approx(1) for each in drawn)
    assert drawn == list(random_weights(DIFFICULTY, 5, seed=2))


def test_the_estimators_cost_is_counted_and_its_latency_measured():
    assert estimator_macs((3, 32, 32)) == 32_244
    assert 0 < estimator_latency_ms(DIFFICULTY, (3, 32, 32), calls=3) < 1e4
