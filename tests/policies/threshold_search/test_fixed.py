"""One threshold for all exits."""

from random_tables import lifelike

from aebnas.policies.threshold_search.fixed import fixed


def test_fixed_thresholds_are_the_same_at_all_exits():
    scored = lifelike(200, 4, 0)
    found = fixed(scored, [0.3, 0.6, 0.9])
    assert all(len(set(point.policy.thresholds)) == 1 for point in found.points) and len(found.points) > 1
    without_values = fixed(scored, [])
    assert [point.policy.thresholds for point in without_values.points] == [(None, None, None)]


def test_without_early_exits_there_is_one_policy():
    assert len(fixed(lifelike(30, 1, 0)).points) == 1
