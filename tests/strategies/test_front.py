"""The front of a set of trials, and every way to pick from it."""

from dataclasses import dataclass

import pytest

from aebnas.core.errors import UserError
from aebnas.core.metrics import Constraint, Objective
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.strategies.front import front, pick
from aebnas.strategies.trial import OperatingPoint, Trial

OBJECTIVES = [Objective("accuracy"), Objective("avg_macs")]


@dataclass(frozen=True)
class FakeArchitecture:
    id: str


def make_trial(name: str, *figures: tuple[float, float], status: str = "ok") -> Trial:
    """A trial whose points have these (accuracy, avg_macs)."""
    points = tuple(
        OperatingPoint(
            name,
            ExitPolicy("margin", (number / 10,)),
            {"accuracy": accuracy, "avg_macs": macs, "params": 100.0},
            (0.5, 0.5),
            (None, None),
        )
        for number, (accuracy, macs) in enumerate(figures)
    )
    return Trial(0, FakeArchitecture(name), None, status, points, "" if status == "ok" else "why", "test", 0.0)


def figures(front_points):
    return [(point.metrics["accuracy"], point.metrics["avg_macs"]) for _, point in front_points]


TRIALS = [
    make_trial("first", (0.90, 5e6), (0.80, 2e6), (0.79, 3e6)),
    make_trial("second", (0.95, 9e6), (0.89, 5e6)),
    make_trial("third", (0.90, 5e6), (0.50, 1e6)),
    make_trial("broken", status="failed"),
    make_trial("over", (0.99, 1e6), status="infeasible"),
]


def test_front_is_sorted_and_holds_the_first_of_ties():
    found = front(TRIALS, OBJECTIVES, [])
    assert figures(found) == [(0.95, 9e6), (0.90, 5e6), (0.80, 2e6), (0.50, 1e6)]
    assert [trial.architecture.id for trial, _ in found] == ["second", "first", "first", "third"]


def test_front_omits_points_that_violate_a_constraint():
    assert figures(front(TRIALS, OBJECTIVES, [Constraint.parse("accuracy >= 0.85")])) == [
        (0.95, 9e6),
        (0.90, 5e6),
    ]
    assert front(TRIALS, OBJECTIVES, [Constraint.parse("params <= 1")]) == []


def test_front_of_one_objective_is_its_best_point():
    assert figures(front(TRIALS, [Objective("avg_macs")], [])) == [(0.50, 1e6)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("best-accuracy", (0.95, 9e6)),
        ("cheapest", (0.50, 1e6)),
        # scaled: (0, 1), (1/9, 1/2), (1/3, 1/8), (1, 0); the sums are 1, 0.61, 0.46 and 1.
        ("knee", (0.80, 2e6)),
        ("avg_macs<=5e6", (0.90, 5e6)),
        ("avg_macs <= 4.9e6", (0.80, 2e6)),
        ("accuracy >= 0.92", (0.95, 9e6)),
        ("third", (0.50, 1e6)),
        ("sec", (0.95, 9e6)),
    ],
)
def test_pick(rule, expected):
    assert figures([pick(front(TRIALS, OBJECTIVES, []), OBJECTIVES, rule)]) == [expected]


COST_FIRST = [Objective("avg_macs"), Objective("accuracy")]
NO_ACCURACY = [Objective("params"), Objective("avg_macs")]


@pytest.mark.parametrize("objectives", [OBJECTIVES, COST_FIRST], ids=["accuracy first", "cost first"])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("avg_macs<=5e6", (0.90, 5e6)),
        ("avg_macs<=8e6", (0.90, 5e6)),
        ("params<=100", (0.95, 9e6)),
        ("avg_macs>=3e6", (0.95, 9e6)),
        ("accuracy>=0.75", (0.80, 2e6)),
        ("accuracy<=0.85", (0.50, 1e6)),
        ("best-accuracy", (0.95, 9e6)),
        ("cheapest", (0.50, 1e6)),
        ("knee", (0.80, 2e6)),
    ],
)
def test_the_order_of_the_objectives_changes_no_pick(rule, expected, objectives):
    assert figures([pick(front(TRIALS, objectives, []), objectives, rule)]) == [expected]


def test_without_an_accuracy_objective_the_most_accurate_point_of_the_front_is_picked():
    trials = [make_trial("worse", (0.50, 1e6)), make_trial("better", (0.80, 1e6))]
    points = [(trial, trial.points[0]) for trial in trials]
    for rule in ("avg_macs<=5e6", "best-accuracy", "cheapest", "accuracy >= 0.4"):
        assert figures([pick(points, NO_ACCURACY, rule)]) == [(0.80, 1e6)]


def test_a_pick_by_a_metric_that_the_run_lacks_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"must bound a metric .*\(accuracy, avg_macs, params\), but got latency_ms$"):
        pick(front(TRIALS, OBJECTIVES, []), OBJECTIVES, "latency_ms<=3")


def test_pick_by_whole_id():
    for pair in (points := front(TRIALS, OBJECTIVES, [])):
        assert pick(points, OBJECTIVES, pair[1].id) == pair


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("avg_macs<=5e5", r"pick 'avg_macs <= 500000': .* but the closest has 1e\+06 MACs"),
        ("accuracy>=0.99", "the closest has 0.95$"),
        ("first", "one id only, but matches first-[0-9a-f]+, first-"),
        (
            "fastest",
            "id of a point on the front, knee, best-accuracy, cheapest or a rule .* but got 'fastest'",
        ),
        ("", "but got ''"),
        ("speed<=3", "metric must be one of"),
    ],
)
def test_picks_that_match_nothing(rule, message):
    with pytest.raises(UserError, match=message):
        pick(front(TRIALS, OBJECTIVES, []), OBJECTIVES, rule)


def test_pick_needs_points_and_cheapest_a_cost():
    with pytest.raises(UserError, match="empty"):
        pick([], OBJECTIVES, "knee")
    with pytest.raises(UserError, match="that is minimised"):
        pick(front(TRIALS, OBJECTIVES[:1], []), OBJECTIVES[:1], "cheapest")


def test_knee_of_a_single_point():
    assert figures([pick(front(TRIALS[:1], OBJECTIVES[:1], []), OBJECTIVES, "knee")]) == [(0.90, 5e6)]


def test_the_accuracy_that_is_an_objective_decides_which_point_is_accurate():
    """Accuracies over classes are picked by like the accuracy: a bound on one selects the cheapest point within it."""
    trial = make_trial("only", (0.9, 3e6), (0.8, 2e6), (0.7, 1e6))
    for point, worst in zip(trial.points, (0.1, 0.6, 0.5), strict=True):
        point.metrics["worst_class_accuracy"] = worst
    objectives = [Objective("worst_class_accuracy"), Objective("avg_macs")]
    points = front([trial], objectives, [])
    picked = {
        rule: pick(points, objectives, rule)[1].metrics["avg_macs"]
        for rule in (
            "best-accuracy",
            "cheapest",
            "worst_class_accuracy>=0.5",
            "worst_class_accuracy>=0.55",
            "avg_macs<=1e6",
        )
    }
    assert list(picked.values()) == [2e6, 1e6, 1e6, 2e6, 1e6]
    with pytest.raises(UserError, match=r"the closest has 0\.6"):
        pick(points, objectives, "worst_class_accuracy>=0.7")
    constraint = [Constraint.parse("worst_class_accuracy >= 0.55")]
    assert [point.metrics["avg_macs"] for _, point in front([trial], OBJECTIVES, constraint)] == [2e6]
