"""DART's factor and weights are found where difficulty matters, and switched off where it doesn't."""

import numpy as np
import pytest
import torch

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.dart_tuning import random_weights, tune_dart, tune_weights
from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.difficulty import Difficulty

COSTS = ExitCosts((40, 70, 100), (3, 4, 5))


DIFFICULTY = Difficulty(0.2, (1.0, 1.0, 1.0))


def search(scored):
    return joint_grid(scored, 8)


def confidently_wrong_on_hard_images(samples=600, seed=0):
    """On hard images the first exit is as confident as on easy ones, and wrong; term 0 states which images are hard."""
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


def test_tuning_finds_the_factor_and_the_weights_where_difficulty_is_informative():
    scored, terms_n3 = confidently_wrong_on_hard_images()
    only_noise = Difficulty(0.2, (1.0, 1.0, 1.0), (0.0, 0.5, 0.5))
    from_noise = tune_dart(scored, [only_noise], terms_n3, search, beta_opt=0.3, folds=3)
    with_weights = tune_weights(scored, only_noise, terms_n3, search, 0.3, beta_diff=0.5, trials=8, folds=3)
    assert with_weights.difficulty.weights[0] > 0.4
    assert with_weights.objective > from_noise.objective + 0.05
    chosen = tune_dart(scored, [with_weights.difficulty], terms_n3, search, beta_opt=0.3, folds=3)
    assert chosen.beta_diff >= 0.3


def test_an_uninformative_difficulty_is_switched_off():
    scored, terms_n3 = confidently_wrong_on_hard_images()
    noise = terms_n3[torch.randperm(len(terms_n3), generator=torch.Generator().manual_seed(1))]
    chosen = tune_dart(scored, [DIFFICULTY], noise, search, beta_opt=0.3, betas=(0.0, 0.4), folds=3)
    assert chosen.beta_diff == 0.0


def test_more_folds_than_samples_are_refused():
    scored, terms_n3 = confidently_wrong_on_hard_images(4)
    with pytest.raises(ValueError, match="but got 5, 4"):
        tune_dart(scored, [DIFFICULTY], terms_n3, search, 0.3)


def test_random_weights_start_with_the_given_ones_and_sum_to_one():
    drawn = list(random_weights(DIFFICULTY, 5, seed=2))
    assert drawn[0] == DIFFICULTY and len(drawn) == 6
    assert all(sum(each.weights) == pytest.approx(1) for each in drawn)
    assert drawn == list(random_weights(DIFFICULTY, 5, seed=2))
