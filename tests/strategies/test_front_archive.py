"""A front that is updated trial by trial is the front of all trials at once, found by comparing every pair."""

from hypothesis import given
from hypothesis import strategies as st
from test_front import FakeArchitecture, figures

from aebnas.core.metrics import Constraint, Objective
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.strategies.front import front
from aebnas.strategies.front_archive import FrontArchive
from aebnas.strategies.trial import OperatingPoint, Trial

OBJECTIVES = [Objective("accuracy"), Objective("avg_macs"), Objective("params")]


def trial(number, values, status):
    points = tuple(
        OperatingPoint(
            f"a{number}",
            ExitPolicy("margin", (place / 100,)),
            dict(zip(("accuracy", "avg_macs", "params"), figures, strict=True)),
            (0.5, 0.5),
            (None, None),
        )
        for place, figures in enumerate(values)
    )
    points = () if status == "failed" else points
    return Trial(number, FakeArchitecture(f"a{number}"), None, status, points, "why", "test", 0.0)


# few values, so that there are ties and duplicates
FIGURES = st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), *2 * [st.integers(0, 3).map(float)])
TRIALS = st.lists(
    st.tuples(st.lists(FIGURES, min_size=1, max_size=4), st.sampled_from(["ok", "ok", "ok", "infeasible", "failed"])),
    max_size=12,
).map(lambda drawn: [trial(number, *one) for number, one in enumerate(drawn)])
CONSTRAINTS = st.sampled_from([[], ["accuracy >= 0.25"], ["avg_macs <= 2", "params <= 2"]])


def plain_front(trials, objectives, constraints):
    """Pairs that no other pair dominates or equals before, by definition."""
    pairs = [
        (one, point)
        for one in trials
        if one.status == "ok"
        for point in one.points
        if all(constraint.satisfied(point.metrics) for constraint in constraints)
    ]
    rows = [tuple(objective.minimised(point.metrics) for objective in objectives) for _, point in pairs]

    def beaten(i):
        return any(
            all(a <= b for a, b in zip(row, rows[i], strict=True)) and (row != rows[i] or j < i)
            for j, row in enumerate(rows)
            if j != i
        )

    kept = [i for i in range(len(pairs)) if not beaten(i)]
    return [pairs[i] for i in sorted(kept, key=lambda i: rows[i])]


@given(TRIALS, CONSTRAINTS, st.integers(1, 3), st.data())
def test_any_order_and_grouping_gives_the_front_of_all(trials, texts, count, data):
    objectives, constraints = OBJECTIVES[:count], [Constraint.parse(text) for text in texts]
    expected = plain_front(trials, objectives, constraints)
    assert front(trials, objectives, constraints) == expected
    archive, rest = FrontArchive(objectives, constraints), data.draw(st.permutations(trials))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        before = archive.points
        assert archive.add(rest[:size]) == (archive.points != before)
        rest = rest[size:]
    assert archive.points == expected
    assert sorted(map(tuple, archive.values)) == [
        tuple(objective.minimised(point.metrics) for objective in objectives) for _, point in expected
    ]


def test_an_equal_point_of_an_earlier_trial_replaces_one(rng):
    """Trials of a generation finish in any order."""
    early, late = trial(3, [(0.5, 1.0, 1.0)], "ok"), trial(4, [(0.5, 1.0, 1.0)], "ok")
    archive = FrontArchive(OBJECTIVES, [])
    assert archive.add([late]) and archive.add([early]) and not archive.add([late])
    assert [one.number for one, _ in archive.points] == [3] and figures(archive.points) == [(0.5, 1.0)]
