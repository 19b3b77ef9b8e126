"""Queueing against queues worked out by hand and queueing theory; skewed classes against Zipf's law."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.policies.analysis.traffic import poisson_arrivals, response_times_ms, skewed_classes, traffic_figures


def test_response_times_by_hand():
    # at 0 (4 ms), at 1 (2 ms): starts at 4; at 10 (1 ms): the queue is empty; at 10.5 (1 ms): starts at 11
    arrivals, services = np.array([0.0, 1.0, 10.0, 10.5]), np.array([4.0, 2.0, 1.0, 1.0])
    assert response_times_ms(arrivals, services).tolist() == [4.0, 5.0, 1.0, 1.5]
    assert response_times_ms(arrivals, services, servers=2).tolist() == [4.0, 2.0, 1.0, 1.0]


def test_the_mean_wait_agrees_with_queueing_theory():
    # M/D/1: mean wait = load * service / (2 (1 - load)), Pollaczek-Khinchine
    figures = traffic_figures(np.array([10.0]), rate_per_s=50, requests=200_000, seed=1)
    assert figures.load == pytest.approx(0.5)
    assert figures.latency_ms["mean"] == pytest.approx(10 + 0.5 * 10 / (2 * 0.5), rel=0.02)


def test_the_tail_grows_with_load_while_the_services_stay():
    services = np.array([2.0] * 90 + [30.0] * 10)
    calm, busy = (traffic_figures(services, rate, 20_000, seed=3) for rate in (20, 150))
    assert calm.mean_service_ms == busy.mean_service_ms == pytest.approx(4.8)
    assert busy.latency_ms["p99"] > 2 * calm.latency_ms["p99"] >= 60
    assert list(busy.latency_ms) == ["mean", "p50", "p90", "p95", "p99", "worst"]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), min_size=1, max_size=30),
    st.integers(1, 3),
)
def test_nobody_is_answered_before_their_service_and_more_servers_never_hurt(steps, servers):
    arrivals = np.cumsum([gap for gap, _ in steps])
    services = np.array([service for _, service in steps])
    response = response_times_ms(arrivals, services, servers)
    assert (response >= services - 1e-9).all()
    assert (response_times_ms(arrivals, services, servers + 1) <= response + 1e-9).all()


def test_arrivals_have_the_given_rate():
    assert poisson_arrivals(50_000, 200, seed=0)[-1] / 1e3 == pytest.approx(250, rel=0.02)


def test_classes_follow_zipfs_law_independent_of_their_sizes():
    labels = np.repeat([0, 1, 2], [500, 50, 5])
    drawn = labels[skewed_classes(labels, 3, 1.0, 60_000, seed=2)]
    shares = np.sort(np.bincount(drawn) / len(drawn))[::-1]
    assert shares == pytest.approx(np.array([1, 1 / 2, 1 / 3]) / (11 / 6), abs=0.01)
    even = labels[skewed_classes(labels, 3, 0.0, 60_000, seed=2)]
    assert np.bincount(even) / len(even) == pytest.approx([1 / 3] * 3, abs=0.01)


@pytest.mark.parametrize(
    "act, problem",
    [
        (lambda: skewed_classes(np.array([], int), 3, 1.0, 5, 0), "but got 0 and 1.0"),
        (lambda: skewed_classes(np.array([0]), 3, -1.0, 5, 0), "but got 1 and -1.0"),
        (lambda: poisson_arrivals(3, 0, 0), "rate_per_s must be above 0, but got 0"),
        (lambda: response_times_ms(np.array([1.0, 0.0]), np.array([1.0, 1.0])), "in order of time"),
        (lambda: response_times_ms(np.array([1.0]), np.array([1.0, 1.0])), "but got 1 and 2, 1"),
    ],
)
def test_invalid_arguments_are_refused(act, problem):
    with pytest.raises(ValueError, match=problem):
        act()
