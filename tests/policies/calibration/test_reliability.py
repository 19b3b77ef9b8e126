"""Reliability curves and calibration errors by hand."""

import numpy as np
import pytest

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.calibration.reliability import exit_reliability, policy_reliability, reliability
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy


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


def test_the_reliability_of_a_policy_is_that_of_its_predictions():
    confidence = np.array([[0.9, 0.2], [0.4, 1.0]], np.float32)
    correct = np.array([[1, 0], [0, 1]], bool)
    table = ExitTable({"confidence": confidence}, correct, {"macs": ExitCosts((1, 2), (0, 0))})
    found = policy_reliability(table, ExitPolicy("confidence", (0.5,)))
    assert found.count_b.sum() == 2 and found.ece == pytest.approx(0.05)
    first, second = exit_reliability(table)
    assert first.ece == pytest.approx((0.1 + 0.4) / 2) and second.ece == pytest.approx(0.1)
