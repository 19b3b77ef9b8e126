"""Weights of the exits' losses, by name or by depth."""

import pytest

from aebnas.core.errors import UserError
from aebnas.training.exits.exit_weights import exit_weights


@pytest.fixture
def largest(two_stages):
    """Exits at stage1, stage2 and the last."""
    return two_stages.extreme(largest=True)


@pytest.fixture
def without_exits(two_stages):
    return two_stages.extreme(largest=False)


@pytest.mark.parametrize(
    "setting, weights",
    [
        ("equal", [1 / 3, 1 / 3, 1 / 3]),
        ("linear", [1 / 6, 2 / 6, 3 / 6]),
        ({"stage1": 1, "stage2": 0, "last": 3}, [0.25, 0.0, 0.75]),
    ],
)
def test_exit_weights(largest, setting, weights):
    assert exit_weights(setting, largest) == pytest.approx(weights)


def test_weights_of_absent_exits_are_left_out(without_exits):
    assert exit_weights({"stage1": 1, "stage2": 5, "last": 3}, without_exits) == [1.0]
    assert exit_weights("linear", without_exits) == [1.0]


@pytest.mark.parametrize("setting, named", [({"stage1": 1, "last": 1}, "stage2"), ({"stage1": 1, "stage2": 1}, "last")])
def test_a_site_without_weight_is_an_error(largest, setting, named):
    with pytest.raises(UserError, match=f"but {named} is missing"):
        exit_weights(setting, largest)


def test_weights_that_are_all_zero_are_an_error(largest):
    with pytest.raises(UserError, match="not all be zero"):
        exit_weights({"stage1": 0, "stage2": 0, "last": 0}, largest)
