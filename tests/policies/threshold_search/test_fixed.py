"""One threshold for all exits."""

from random_tables import lifelike

from aebnas.policies.threshold_search.fixed import fixed


def test_fixed_thresholds_are_the_same_at_all_exits():
    scored = lifelike(200, 4, 0)
    found = fixed(scored, [0.3, 0.6, 0.9])
    assert all(len(set(point.policy.thresholds)) == 1 for point in found.points) and len(found.points) > 1
    alone = fixed(scored, [])
    assert [point.policy.thresholds for point in alone.points] == [(None, None, None)]


def test_one_exit_alone_has_nothing_to_set():
    assert len(fixed(lifelike(30, 1, 0)).points) == 1
