"""Metrics, objectives, constraints and the soft target."""

import pytest

from aebnas.core.errors import UserError
from aebnas.core.metrics import (
    METRICS,
    Constraint,
    Objective,
    SoftTarget,
    check_constraints,
    leading_accuracy,
    shown_axes,
    tuned_accuracy,
)


def test_directions_are_converted():
    metrics = {"accuracy": 0.9, "avg_macs": 5e6}
    assert Objective.parse("accuracy").minimised(metrics) == -0.9
    assert Objective.parse(" avg_macs ").minimised(metrics) == 5e6


def test_an_unknown_metric_gets_a_suggestion():
    with pytest.raises(UserError, match=r"one of accuracy, .*, but got 'acuracy', did you mean 'accuracy'\?"):
        Objective.parse("acuracy")
    with pytest.raises(UserError, match=r"got 'zzz'$"):
        Constraint.parse("zzz <= 1")


def test_only_graph_metrics_are_static():
    static = {name for name, metric in METRICS.items() if metric.static}
    assert static == {"params", "weight_bytes", "macs", "peak_memory_bytes"}


@pytest.mark.parametrize("text", ["avg_macs <= 17e6", "avg_macs<=17000000", "  avg_macs  <=17_000_000 "])
def test_constraints_are_read_with_or_without_spaces(text):
    assert Constraint.parse(text) == Constraint("avg_macs", "<=", 17e6)
    assert str(Constraint.parse(text)) == "avg_macs <= 1.7e+07"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("avg_macs < 17e6", "must read 'metric <= number'"),
        ("avg_macs == 17e6", "must read"),
        ("avg_macs <= 1 <= 2", "must read"),
        ("avg_macs", "must read"),
        ("avg_macs <= many", "must bound avg_macs by a number, but got 'avg_macs <= many'"),
        ("avg_macs <= nan", "must bound avg_macs by a finite number"),
        ("params <= -1", "at least 0, but got -1"),
        ("accuracy >= 90", r"fraction in \[0, 1\], but got 90"),
        ("avg_mac <= 1", "did you mean 'avg_macs'"),
    ],
)
def test_impossible_constraints_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        Constraint.parse(text)


def test_violation_is_relative_to_the_bound():
    budget, floor = Constraint.parse("avg_macs <= 20e6"), Constraint.parse("accuracy >= 0.8")
    assert budget.violation({"avg_macs": 25e6}) == pytest.approx(0.25)
    assert floor.violation({"accuracy": 0.6}) == pytest.approx(0.25)
    assert budget.violation({"avg_macs": 20e6}) == floor.violation({"accuracy": 0.9}) == 0.0
    assert budget.satisfied({"avg_macs": 20e6}) and not budget.satisfied({"avg_macs": 20e6 + 1})
    assert Constraint.parse("params <= 0").violation({"params": 1.0}) == pytest.approx(1e12)


def test_contradictory_constraints():
    parsed = [Constraint.parse(text) for text in ("avg_macs >= 2e6", "params <= 1e6", "avg_macs <= 1e6")]
    with pytest.raises(UserError, match=r"got 'avg_macs >= 2e\+06' and 'avg_macs <= 1e\+06'"):
        check_constraints(parsed)
    check_constraints(parsed[:2])
    check_constraints([Constraint.parse("avg_macs >= 1e6"), Constraint.parse("avg_macs <= 1e6")])


def test_soft_target_penalises_both_sides():
    target = SoftTarget("avg_macs", 20e6, 0.1)
    # 25 % off on either side; error 15 %, so 15 + 0.1 * 25.
    for cost in (15e6, 25e6):
        assert target.minimised({"accuracy": 0.85, "avg_macs": cost}) == pytest.approx((17.5, 25.0))
    assert target.minimised({"accuracy": 1.0, "avg_macs": 20e6}) == (0.0, 0.0)


@pytest.mark.parametrize("arguments", [("accuracy", 0.9), ("avg_macs", 0.0), ("avg_macs", 1e6, -1.0), ("nothing", 1.0)])
def test_impossible_soft_targets_are_refused(arguments):
    with pytest.raises(UserError, match="must be"):
        SoftTarget(*arguments)


@pytest.mark.parametrize(
    "names, leading, tuned, axes",
    [
        (("accuracy", "avg_macs"), "accuracy", "accuracy", ("accuracy", "avg_macs")),
        (
            ("avg_macs", "balanced_accuracy"),
            "balanced_accuracy",
            "balanced_accuracy",
            ("balanced_accuracy", "avg_macs"),
        ),
        (
            ("worst_class_accuracy", "accuracy", "params"),
            "worst_class_accuracy",
            "balanced_accuracy",
            ("worst_class_accuracy", "params"),
        ),
        (("accuracy", "worst_class_accuracy"), "accuracy", "accuracy", ("accuracy", "worst_class_accuracy")),
        (("params", "macs"), "accuracy", "accuracy", ("params", "macs")),
    ],
)
def test_the_first_maximised_objective_is_the_accuracy_of_a_search(names, leading, tuned, axes):
    objectives = [Objective(name) for name in names]
    assert leading_accuracy(objectives) == leading
    assert tuned_accuracy(objectives) == tuned
    assert shown_axes(objectives) == axes
