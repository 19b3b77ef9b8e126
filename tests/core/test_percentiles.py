"""Means and percentiles of costs over samples."""

import numpy as np
import pytest

from aebnas.core.percentiles import STATISTICS, TailMetric, tail, tail_of_samples


def test_by_hand():
    found = tail(np.array([1.0, 2.0, 10.0]), np.array([0.5, 0.45, 0.05]))
    assert found == pytest.approx({"mean": 1.9, "p50": 1, "p90": 2, "p95": 2, "p99": 10, "worst": 10})


def test_exits_without_samples_and_in_any_order():
    assert tail(np.array([5.0, 1.0, 99.0]), np.array([0.4, 0.6, 0.0])) == pytest.approx(
        {"mean": 2.6, "p50": 1, "p90": 5, "p95": 5, "p99": 5, "worst": 5}
    )


def test_it_equals_numpys_percentile_of_the_samples(rng):
    costs_e, taken = rng.uniform(1, 9, 5), rng.integers(0, 5, 1000)
    by_share = tail(costs_e, np.bincount(taken, minlength=5) / 1000)
    by_sample = tail_of_samples(costs_e[taken])
    for name, q in STATISTICS.items():
        want = costs_e[taken].mean() if q is None else np.quantile(costs_e[taken], q, method="inverted_cdf")
        assert by_share[name] == pytest.approx(want)
        assert by_sample[name] == pytest.approx(want)


def test_a_quantile_missed_only_by_rounding_is_reached():
    """Nine tenths add up to 0.8999999999999999 in floats; the percentile is the ninth cost all the same."""
    assert sum([0.1] * 9) < 0.9
    assert tail(np.arange(1.0, 11.0), np.full(10, 0.1))["p90"] == 9.0


def test_shares_must_be_at_least_0_and_sum_to_1():
    for shares in ([0.5, 0.6], [1.0], [1.5, -0.5]):
        with pytest.raises(ValueError, match="shares must be"):
            tail(np.array([1.0, 2.0]), np.array(shares))


def test_names():
    assert [str(TailMetric("latency_ms", name)) for name in ("p50", "mean")] == ["latency_ms@p50", "latency_ms"]
