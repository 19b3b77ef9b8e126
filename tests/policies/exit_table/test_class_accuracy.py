"""Accuracies over classes against scikit-learn's, for classes of any size and for classes without samples."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.utils.class_weight import compute_sample_weight

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.exit_table.class_accuracy import balancing_weights
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.runtime.exit_policy import ExitPolicy

ANSWERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)
"""Labels and predictions of up to 7 classes, of which any may lack samples."""


def table(labels_n, predicted_n):
    correct_ne = (labels_n == predicted_n)[:, None]
    scores = {"margin": np.zeros(correct_ne.shape, np.float32)}
    return ExitTable(scores, correct_ne, {"macs": ExitCosts((1,), (0,))}, labels_n, predicted_n[:, None])


@given(ANSWERS)
def test_they_are_those_of_scikit_learn(answers):
    labels_n, predicted_n = np.array(answers).T
    scored = score_policy(table(labels_n, predicted_n), ExitPolicy("margin", ()))
    present = np.unique(labels_n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of predicted classes that no label has
        assert scored.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels_n, predicted_n))
    recalls = recall_score(labels_n, predicted_n, labels=present, average=None, zero_division=0)
    assert scored.worst_class_accuracy == pytest.approx(recalls.min())
    assert scored.class_metrics.keys() == {"balanced_accuracy", "worst_class_accuracy"}


@given(ANSWERS)
def test_weights_make_the_accuracy_the_mean_over_classes(answers):
    labels_n, predicted_n = np.array(answers).T
    weight_n = balancing_weights(labels_n)
    assert weight_n == pytest.approx(compute_sample_weight("balanced", labels_n))
    scored = score_policy(table(labels_n, predicted_n), ExitPolicy("margin", ()))
    assert (weight_n * (labels_n == predicted_n)).mean() == pytest.approx(scored.balanced_accuracy)


def test_a_table_without_labels_has_none():
    bare = ExitTable({"margin": np.zeros((2, 1), np.float32)}, np.ones((2, 1), bool), {"macs": ExitCosts((1,), (0,))})
    assert score_policy(bare, ExitPolicy("margin", ())).class_metrics == {}
