"""Temperatures where the true one is known, and at the bounds of their range."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from aebnas.policies.calibration.reliability import reliability
from aebnas.policies.calibration.temperature import fit_temperature, fit_temperatures


def drawn(temperature, samples=20_000, classes=5, seed=0):
    """Logits, and labels drawn with the probabilities softmax(logits / temperature)."""
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


def test_bounds_of_the_range():
    logits = np.array([[3.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(logits, np.array([0, 1])) == 0.05  # always right
    assert fit_temperature(logits, np.array([1, 0])) == 20.0  # always wrong
    assert fit_temperature(np.zeros((2, 3)), np.array([0, 1])) == 20.0  # without information
    with pytest.raises(ValueError, match="at least one sample"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))


def test_each_exit_has_its_own_temperature_also_with_very_large_logits():
    (a, labels), (b, _) = drawn(2.0, 2000), drawn(0.7, 2000)
    first, second = fit_temperatures(np.stack([a, b * 1000], 1).astype(np.float32), labels)
    assert first == pytest.approx(2.0, rel=0.1) and second == 20.0


def test_a_temperature_reduces_the_calibration_error():
    logits, labels = drawn(2.5)
    errors = []
    for temperature in (1.0, fit_temperature(logits, labels)):
        chances = softmax(logits / temperature, axis=1)
        found = reliability(chances.max(1), chances.argmax(1) == labels)
        errors.append(found.ece)
    assert errors[0] > 0.1 and errors[1] < 0.015
