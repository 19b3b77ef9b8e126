from dataclasses import replace

import pytest
from tiny_run import searched

from aebnas.report.trial_digest import TrialDigest, counts_and_front
from aebnas.run.session import RunSession


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return RunSession.open(searched(tmp_path_factory))


def many(session, count):
    """Trials with the points of the search's, again and again."""
    trials = session.run.trials()
    return [replace(trials[number % len(trials)], number=number) for number in range(count)]


@pytest.mark.parametrize("kept", [1, 7, 50])
def test_what_is_kept_does_not_grow_with_the_number_of_trials(session, kept):
    for count in (8, 400):
        trials = many(session, count)
        digest = TrialDigest(session.facts, trials, kept)
        total = sum(len(trial.points) for trial in trials)
        assert digest.points_total == len(digest.x) == len(digest.y) == total
        assert digest.front == session.front()
        others = digest.others
        assert len(others) <= kept and all(trial.points == (point,) for trial, point in others)
        assert len(digest._some) <= 2 * (kept + len(digest.front))
        on_front = {point.id for _, point in digest.front}
        assert not on_front & {point.id for _, point in others}
        if count == 400 and kept > 1:  # evenly spaced: from the first trials to the last
            numbers = [trial.number for trial, _ in others]
            assert numbers == sorted(numbers) and numbers[0] < 100 and numbers[-1] >= 300


def test_all_points_are_kept_of_a_short_search(session):
    trials = session.run.trials()
    digest = TrialDigest(session.facts, trials, 1000)
    every = {point.id for trial in trials for point in trial.points}
    assert {point.id for _, point in [*digest.front, *digest.others]} == every
    assert digest.growth["trials"] == list(range(1, 9)) and digest.growth["front_points"][-1] == len(digest.front)


def test_counts(session):
    trials = session.run.trials()
    failed = [replace(trials[n], status="failed", points=(), reason=f"reason {n % 2}") for n in (1, 3, 4)]
    counts, front = counts_and_front(session.facts, [*trials, *failed])
    assert (counts.total, counts.status["ok"], counts.status["failed"]) == (11, 8, 3)
    assert counts.failures == {"reason 1": 2, "reason 0": 1} and counts.first_failed == failed[0]
    assert counts.seconds == pytest.approx(sum(t.seconds for t in [*trials, *failed])) and front == session.front()
