"""Each failure is reported when it is there, and only then."""

import numpy as np
import pytest

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.analysis.diagnostics import diagnose
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy

SAMPLES = 1000


def healthy(right=0.9, seed=0, costs=None, confidence=None):
    """Three exits, half the samples confident and right early; the confidence equals the accuracy."""
    rng = np.random.default_rng(seed)
    first = rng.random(SAMPLES)
    scores = np.stack([first, first**0.5, first**0.3], 1)
    correct = rng.random((SAMPLES, 1)) < scores
    correct[:, -1] |= rng.random(SAMPLES) < right
    if confidence is not None:
        scores[:, 0] = confidence
    costs = costs or ExitCosts((10, 50, 100), (1, 1, 1))
    return ExitTable({"confidence": scores.astype(np.float32)}, correct, {"macs": costs})


POLICY = ExitPolicy("confidence", (0.9, 0.9))


def test_nothing_is_reported_of_a_healthy_network():
    table = healthy()
    assert diagnose(table, POLICY, calibrate=healthy(seed=1), without_exits=(0.95, SAMPLES)) == []


def test_premature_exits():
    (sentence,) = diagnose(healthy(), ExitPolicy("confidence", (0.5, 0.6)))
    assert "leave too early: they are wrong at their exit and right at the last one" in sentence


def test_no_saving():
    costly = healthy(costs=ExitCosts((10, 50, 100), (90, 90, 1)))
    (sentence,) = diagnose(costly, POLICY)
    assert sentence.startswith("Exits save nothing: a sample costs ") and sentence.endswith("without branches 101.")


def test_exits_that_no_sample_takes():
    (sentence,) = diagnose(healthy(), ExitPolicy("confidence", (1.0, 0.9)))
    assert sentence.startswith("Exit 1 is run for every sample that reaches it and taken by none")
    sentences = diagnose(healthy(), ExitPolicy("confidence", (1.0, 1.0)))
    assert any(sentence.startswith("Exits 1, 2 are run") for sentence in sentences)
    assert diagnose(healthy(), ExitPolicy("confidence", (None, 0.9))) == []  # it was switched off


def test_one_exit_taken_by_nearly_all():
    sentences = diagnose(healthy(), ExitPolicy("confidence", (None, None)))
    assert any(
        "100.0 % of samples leave at exit 3; the other exits have little effect" in sentence for sentence in sentences
    )


def test_overconfidence():
    sentences = diagnose(healthy(confidence=0.85), POLICY)
    (sentence,) = [each for each in sentences if "overconfident" in each]
    assert sentence.startswith("Exit 1 is overconfident: its confidence is 3") and "ECE 0.3" in sentence
    assert not any("overconfident" in sentence for sentence in diagnose(healthy(confidence=0.2), POLICY))


@pytest.mark.parametrize("accuracy, reported", [(0.96, False), (0.995, True)])
def test_the_last_exit_is_compared_with_the_network_without_exits(accuracy, reported):
    sentences = diagnose(healthy(), POLICY, without_exits=(accuracy, SAMPLES))
    assert any("lower the accuracy of the last one" in sentence for sentence in sentences) == reported


@pytest.mark.parametrize("right, reported", [(0.9, False), (0.2, True)])
def test_thresholds_that_do_not_generalise(right, reported):
    sentences = diagnose(healthy(), POLICY, calibrate=healthy(right, seed=1))
    assert any(sentence.startswith("Thresholds don't generalise") for sentence in sentences) == reported


def test_nothing_is_reported_of_a_network_without_early_exits():
    table = ExitTable(
        {"confidence": np.ones((9, 1), np.float32)}, np.ones((9, 1), bool), {"macs": ExitCosts((9,), (1,))}
    )
    # it equals its backbone: there is nothing to save
    assert diagnose(table, ExitPolicy("confidence", ())) == []
