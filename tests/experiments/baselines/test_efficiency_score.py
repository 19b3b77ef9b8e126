"""DART's figures against its published check value."""

import pytest
from baselines.efficiency_score import EfficiencyScore


def test_the_check_value_of_alexnet_on_mnist():
    assert EfficiencyScore(0.9931, 3.0, 5.13, 0.76).daes == pytest.approx(8.684, abs=5e-4)


def test_ratios_are_against_the_static_network():
    merit = EfficiencyScore.measured(0.9, static_time=8.0, time=4.0, static_energy=30.0, energy=10.0, mean_alpha=0.5)
    assert (merit.speedup, merit.power_efficiency) == (2.0, 3.0)
    assert merit.daes == pytest.approx(0.9 * 2 * 3 / 1.5)


def test_the_static_network_itself_scores_its_accuracy_over_difficulty():
    assert EfficiencyScore(0.8, 1.0, 1.0, 0.0).daes == pytest.approx(0.8)


@pytest.mark.parametrize(
    "figures, problem",
    [((86.2, 1.0, 1.0, 0.5), "accuracy must lie"), ((0.8, 0.0, 1.0, 0.5), "speedup must be above 0")],
)
def test_figures_that_cannot_be_are_refused(figures, problem):
    with pytest.raises(ValueError, match=problem):
        EfficiencyScore(*figures)
