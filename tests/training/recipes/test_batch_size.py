import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebnas.training.recipes.batch_size import resolved_batch_size


@pytest.mark.parametrize(
    "images, side, expected",
    [
        (1_000_000, 32, 512),
        (40_000, 32, 512),
        (5_000, 32, 256),
        (1_000, 28, 32),
        (100, 28, 16),
        (1_000_000, 64, 512),
        (1_000_000, 224, 32),
        (1_000_000, 2000, 16),
    ],
)
def test_automatic_sizes_by_hand(images, side, expected):
    assert resolved_batch_size("auto", images, side, side) == expected


def test_a_given_size_stays():
    assert resolved_batch_size(128, 10, 1000, 1000, workers=3) == 128


@given(st.integers(1, 10**7), st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 12))
def test_every_worker_gets_an_equal_share(images, height, width, workers):
    size = resolved_batch_size("auto", images, height, width, workers)
    assert size % workers == 0 and size >= 2 * workers
