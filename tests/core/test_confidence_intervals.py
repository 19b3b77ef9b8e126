import numpy as np
import pytest

from aebnas.core.confidence_intervals import difference, wilson


@pytest.mark.parametrize(
    "right, samples, low, high",
    [  # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(right, samples, low, high):
    assert wilson(right / samples, samples) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    "first, second, low, high",
    [  # Newcombe (1998), "Interval estimation for the difference", table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_the_difference_as_published(first, second, low, high):
    shares = (first[0] / first[1], first[1], second[0] / second[1], second[1])
    assert difference(*shares) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("samples", [1, 7, 500, 10_000])
def test_the_interval_holds_the_share_and_is_within_0_and_1(samples):
    for right in {0, samples // 3, samples}:
        low, high = wilson(right / samples, samples)
        assert 0.0 <= low <= right / samples <= high <= 1.0 and low < high


def test_95_of_100_intervals_hold_the_true_share():
    rng, truth = np.random.default_rng(11), 0.9
    found = rng.binomial(200, truth, 4000) / 200
    held = [low <= truth <= high for low, high in (wilson(share, 200) for share in found)]
    assert 0.93 < np.mean(held) < 0.97


@pytest.mark.parametrize("share, samples", [(1.1, 10), (-0.1, 10), (0.5, 0)])
def test_impossible_shares_and_counts_are_refused(share, samples):
    with pytest.raises(ValueError, match="must"):
        wilson(share, samples)
