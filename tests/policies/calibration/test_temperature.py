"""Temperatures, calibration error and exits by themselves, by hand and where the truth is known."""

import numpy as np
import pytest
import torch
from random_tables import random_table
from scipy.special import softmax

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.calibration.temperature import (
    exit_reliability,
    fit_temperature,
    fit_temperatures,
    policy_reliability,
    reliability,
    summarise_exits,
)
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy


def drawn(temperature, samples=20_000, classes=5, seed=0):
    """Logits, and labels drawn as often as logits / temperature say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(samples, classes)) * 3
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(1) < rng.random((samples, 1))).sum(1).clip(max=classes - 1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.03)


def test_no_other_temperature_has_a_smaller_loss():
    logits, labels = drawn(1.7, samples=300, seed=3)

    def loss(temperature):
        return torch.nn.functional.cross_entropy(torch.tensor(logits / temperature), torch.tensor(labels)).item()

    found = fit_temperature(logits, labels)
    assert loss(found) <= min(map(loss, np.linspace(0.2, 8, 500))) + 1e-9
    assert loss(found) < loss(found * 1.01) and loss(found) < loss(found / 1.01)


def test_ends_of_the_range():
    logits = np.array([[3.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(logits, np.array([0, 1])) == 0.05  # always right
    assert fit_temperature(logits, np.array([1, 0])) == 20.0  # always wrong
    assert fit_temperature(np.zeros((2, 3)), np.array([0, 1])) == 20.0  # says nothing
    with pytest.raises(ValueError, match="at least one sample"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))


def test_each_exit_has_its_own_temperature_and_huge_logits_do_no_harm():
    (a, labels), (b, _) = drawn(2.0, 2000), drawn(0.7, 2000)
    first, second = fit_temperatures(np.stack([a, b * 1000], 1).astype(np.float32), labels)
    assert first == pytest.approx(2.0, rel=0.1) and second == 20.0


def test_a_temperature_mends_the_calibration():
    logits, labels = drawn(2.5)
    errors = []
    for temperature in (1.0, fit_temperature(logits, labels)):
        chances = softmax(logits / temperature, axis=1)
        found = reliability(chances.max(1), chances.argmax(1) == labels)
        errors.append(found.ece)
    assert errors[0] > 0.1 and errors[1] < 0.015


def test_reliability_by_hand():
    confidence = np.array([0.95, 0.85, 0.9, 0.3, 0.2])
    correct = np.array([1, 0, 1, 0, 1], bool)
    found = reliability(confidence, correct, bins=10)
    assert found.count_b.tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 2, 1]  # 0.9 belongs to (0.8, 0.9]
    assert found.confidence_b[8] == pytest.approx(0.875) and found.accuracy_b[8] == 0.5
    assert np.isnan(found.accuracy_b[0])
    # gaps: 0.8 * 1/5, 0.3 * 1/5, 0.375 * 2/5, 0.05 * 1/5
    assert found.ece == pytest.approx((0.8 + 0.3 + 0.75 + 0.05) / 5)
    assert found.overconfidence == pytest.approx(0.64 - 0.6)
    with pytest.raises(ValueError, match="at least one sample"):
        reliability(np.zeros(0), np.zeros(0, bool))


def test_confidences_at_the_ends_have_a_bin():
    assert reliability(np.array([0.0, 1.0]), np.array([False, True])).count_b[[0, -1]].tolist() == [1, 1]


def test_of_a_policy_the_answers_given_count():
    confidence = np.array([[0.9, 0.2], [0.4, 1.0]], np.float32)
    correct = np.array([[1, 0], [0, 1]], bool)
    table = ExitTable({"confidence": confidence}, correct, {"macs": ExitCosts((1, 2), (0, 0))})
    found = policy_reliability(table, ExitPolicy("confidence", (0.5,)))
    assert found.count_b.sum() == 2 and found.ece == pytest.approx(0.05)
    first, second = exit_reliability(table)
    assert first.ece == pytest.approx((0.1 + 0.4) / 2) and second.ece == pytest.approx(0.1)


def test_exits_by_themselves():
    table = random_table(50, 3, 0)
    summaries = summarise_exits(table, quantiles=(0.25, 0.5, 0.75))
    assert [summary.accuracy_alone for summary in summaries] == table.correct_ne.mean(0).tolist()
    first = summaries[0]
    assert first.quantiles["margin"] == pytest.approx(np.quantile(table.scores["margin"][:, 0], [0.25, 0.5, 0.75]))
    assert set(first.candidates) == {"margin", "entropy"}
    assert first.candidates["margin"][0] == 0.0 and first.candidates["margin"][-1] == np.inf
    assert len(first.candidates["margin"]) == 5
