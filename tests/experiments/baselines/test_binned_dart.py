"""DART with difficulty bins: each bin has its own thresholds, and policies score on their table as promised."""

import numpy as np
import pytest
from baselines.binned_dart import dart_binned_frontier
from random_tables import lifelike, random_table

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.policies.threshold_search.value_iteration import dart_frontier
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.threshold_rules import DifficultyBins

DIFFICULTY = Difficulty(0.1, (1.0, 1.0, 1.0))


def test_difficulty_bins_have_thresholds_of_their_own():
    rng = np.random.default_rng(0)
    alpha = rng.random(600, np.float32)
    # hard samples seem as sure as easy ones and are wrong, until the last exit
    scores = rng.random((600, 2), np.float32)
    correct = np.stack([alpha < 0.5, np.ones(600, bool)], 1)
    costs = {"macs": ExitCosts((10, 100), (1, 1))}
    table = ExitTable({"margin": scores}, correct, costs).with_difficulty(DIFFICULTY, alpha)
    scored = ThresholdProblem.of(table, "margin")
    (point,) = dart_binned_frontier(scored, scores[:, 1], DIFFICULTY, alpha, difficulty_bins=2, betas=[0.3]).points
    bins = point.policy.find(DifficultyBins)
    ((easy, hard),) = bins.thresholds
    assert easy < 0.1 and hard is None
    (edge,) = bins.edges
    assert (alpha <= edge).sum() == 300
    # figures are those of each bin under its threshold; the branch runs for all
    leaves = (alpha <= edge) & (scores[:, 0] > np.float32(easy))
    assert point.accuracy == pytest.approx(np.where(leaves, correct[:, 0], True).mean())
    assert point.cost == pytest.approx(np.where(leaves, 11, 102).mean())


@pytest.mark.parametrize("seed", range(3))
def test_the_policy_found_is_the_one_that_was_measured(seed):
    rng = np.random.default_rng(seed)
    table = random_table(200, 4, seed)
    alpha = rng.random(200, np.float32)
    table = table.with_difficulty(DIFFICULTY, alpha)
    found = dart_binned_frontier(
        ThresholdProblem.of(table, "margin"), table.scores["margin"][:, -1], DIFFICULTY, alpha, 3, [0.0, 0.2, 0.5, 0.9]
    )
    for point in found.points:
        alone = score_policy(table, point.policy)
        assert alone.accuracy == pytest.approx(point.accuracy)
        assert alone.avg_macs == pytest.approx(point.cost)


def test_equal_difficulties_make_one_bin():
    scored = lifelike(100, 3, 1)
    last, alpha = scored.scores_nk[:, -1], np.full(100, 0.5, np.float32)
    (whole,) = dart_frontier(scored, last, betas=[0.4]).points
    (binned,) = dart_binned_frontier(scored, last, DIFFICULTY, alpha, betas=[0.4]).points
    assert binned.policy.find(DifficultyBins).edges == () and binned.policy.thresholds == whole.policy.thresholds
    assert (binned.accuracy, binned.cost) == (whole.accuracy, whole.cost)
