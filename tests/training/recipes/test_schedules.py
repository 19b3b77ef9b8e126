import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebnas.training.recipes.schedules import SCHEDULES


@pytest.mark.parametrize(
    "name, expected",
    [
        ("cosine", [0.0, 0.5, 1.0, 0.853553, 0.5, 0.146447, 0.0]),
        ("linear", [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ("triangle", [0.2, 0.6, 1.0, 0.7675, 0.535, 0.3025, 0.07]),
    ],
)
def test_factors_by_hand(name, expected):
    """A warm-up over a third of the training, in sixths."""
    found = [SCHEDULES[name](sixth / 6, 1 / 3) for sixth in range(7)]
    assert found == pytest.approx(expected, abs=1e-6)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1))
def test_they_rise_to_the_peak_and_fall_from_it(name, warmup, one, other):
    factor = SCHEDULES[name]
    early, late = sorted((one, other))
    assert 0 <= factor(early, warmup) <= 1 + 1e-9
    assert factor(warmup, warmup) == pytest.approx(1)
    if late < warmup:
        assert factor(early, warmup) <= factor(late, warmup) + 1e-9
    if early >= warmup:
        assert factor(early, warmup) >= factor(late, warmup) - 1e-9
