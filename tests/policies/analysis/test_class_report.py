"""Figures by class against scikit-learn's, the confusion matrix, and its size as JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from aebnas.cli.class_tables import over_classes, print_classes, print_confusion
from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.analysis.class_report import report_classes
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.runtime.exit_policy import ExitPolicy

POLICY = ExitPolicy("margin", (0.5,))
ANSWERS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4), st.booleans()), min_size=1, max_size=50
)
"""Labels of at most 4 of 5 classes, predictions at both exits, and whether a sample leaves at the first."""


def table(labels_n, predicted_ne, leaves_n):
    scores_ne = np.stack([np.where(leaves_n, 0.9, 0.1), np.ones(len(leaves_n))], 1).astype(np.float32)
    correct_ne = predicted_ne == labels_n[:, None]
    return ExitTable({"margin": scores_ne}, correct_ne, {"macs": ExitCosts((1, 2), (0, 0))}, labels_n, predicted_ne)


def optional(values):
    return [None if np.isnan(value) else pytest.approx(value) for value in values]


@given(ANSWERS)
def test_figures_are_those_of_scikit_learn(answers):
    labels_n, first_n, last_n, leaves_n = np.array(answers).T
    leaves_n = leaves_n.astype(bool)
    names = ["cat", "dog", "deer", "frog", "ship"]
    found = report_classes(table(labels_n, np.stack([first_n, last_n], 1), leaves_n), POLICY, names)
    predicted_n = np.where(leaves_n, first_n, last_n)
    arguments = {"labels": range(5), "average": None, "zero_division": np.nan}
    for name, score in (("accuracy", recall_score), ("precision", precision_score), ("f1", f1_score)):
        assert [getattr(each, name) for each in found.classes] == optional(score(labels_n, predicted_n, **arguments))
    matrix_kk = confusion_matrix(labels_n, predicted_n, labels=range(5))
    assert (found.matrix() == matrix_kk).all()
    assert [each.samples for each in found.classes] == matrix_kk.sum(1).tolist()
    depths = [(~leaves_n)[labels_n == label].mean() if (labels_n == label).any() else np.nan for label in range(5)]
    assert [each.mean_exit for each in found.classes] == optional(depths)
    present = np.unique(labels_n)
    recalls = recall_score(labels_n, predicted_n, labels=present, average=None, zero_division=0)
    assert found.balanced_accuracy == pytest.approx(recalls.mean())
    assert found.worst[0].accuracy == pytest.approx(recalls.min())
    pairs = {(pair.name, pair.taken_for): pair.count for pair in found.confused()}
    wrong = {(names[i], names[j]): matrix_kk[i, j] for i in range(5) for j in range(5) if i != j and matrix_kk[i, j]}
    assert pairs == wrong
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["name"] == names and value["accuracy"][4] is None
    cells = value["confusion"]
    assert sum(cells["count"]) == len(labels_n)
    restored_kk = np.zeros((5, 5), int)
    restored_kk[cells["class"], cells["predicted"]] = cells["count"]
    assert (restored_kk == matrix_kk).all()


def made_up(classes, samples_each=50):
    """Each class is mostly right, else taken for one of the next 30."""
    rng = np.random.default_rng(0)
    labels_n = np.repeat(np.arange(classes), samples_each)
    wrong_n = (labels_n + rng.integers(1, 31, len(labels_n))) % classes
    predicted_n = np.where(rng.random(len(labels_n)) < 0.7, labels_n, wrong_n)
    predicted_ne = np.stack([predicted_n, predicted_n], 1)
    names = [f"class {number}" for number in range(classes)]
    return report_classes(table(labels_n, predicted_ne, rng.random(len(labels_n)) < 0.5), POLICY, names)


def test_a_thousand_classes_fit_into_a_small_record():
    """Only cells that aren't 0 are stored: at most one per image."""
    found = made_up(1000)
    assert len(found.confusion) <= 50_000
    assert len(json.dumps(found.to_json())) < 500_000


@pytest.mark.parametrize("classes", [2, 10, 12, 100, 1000])
def test_tables_stay_on_one_screen_for_any_number_of_classes(classes, capsys):
    found = made_up(classes)
    assert "worst class" in over_classes(found)
    print_classes(found)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= (classes if classes <= 12 else 5) + 3
    assert max(map(len, lines)) <= 110
    shown = [each.name for each in (found.classes if classes <= 12 else found.worst[:5])]
    assert [line.split("  ")[0] for line in lines[-len(shown) :]] == shown
    print_classes(found, full=True)
    print_confusion(found)
    full = capsys.readouterr().out
    assert len(full.splitlines()) <= 70
    assert ("confusion matrix" if classes <= 12 else "most confused classes") in full


def test_long_names_are_cut_and_markup_is_text(capsys):
    labels_n = np.array([0, 1, 1])
    names = ["[bold]x", "a name that is much too long for a table"]
    found = report_classes(table(labels_n, np.array([[1, 1]] * 3), np.ones(3, bool)), POLICY, names)
    print_classes(found)
    print_confusion(found)
    printed = capsys.readouterr().out
    assert "[bold]x" in printed and "a name that is mu…" in printed
    assert balanced_accuracy_score(labels_n, [1, 1, 1]) == found.balanced_accuracy == 0.5
