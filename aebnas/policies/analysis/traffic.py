"""Realistic traffic: skewed class frequencies, and open-loop arrivals, which don't wait for the previous request.

Requests wait in one queue, first come first served. Early exits shorten the mean service time but not the maximum,
so waiting times have to be simulated: an average doesn't determine the tail.

Legend: n requests, k classes, e exits, s servers.
"""

import heapq
from dataclasses import dataclass

import numpy as np

PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}


def skewed_classes(labels_n: np.ndarray, classes: int, exponent: float, count: int, seed: int) -> np.ndarray:
    """Indices of `count` samples drawn with replacement whose classes follow Zipf's law, int64 `[count]`.

    The class of rank r (the order is drawn from the seed) has weight r ** -exponent; 0 gives equal frequencies. Classes
    without a sample are left out. Raises ValueError for no samples or a negative exponent.
    """
    if not len(labels_n) or exponent < 0:
        raise ValueError(
            f"samples must be at least 1 and the exponent at least 0, but got {len(labels_n)} and {exponent}"
        )
    rng = np.random.default_rng(seed)
    weight_k = rng.permutation(np.arange(1, classes + 1, dtype=float) ** -exponent)
    members = np.bincount(labels_n, minlength=classes)
    weight_n = weight_k[labels_n] / members[labels_n]
    return rng.choice(len(labels_n), size=count, p=weight_n / weight_n.sum())


def poisson_arrivals(count: int, rate_per_s: float, seed: int) -> np.ndarray:
    """Arrival times in ms of a Poisson process of `rate_per_s` requests per second, float64 `[count]`.

    Raises ValueError for a rate that isn't positive.
    """
    if rate_per_s <= 0:
        raise ValueError(f"rate_per_s must be above 0, but got {rate_per_s}")
    return np.random.default_rng(seed).exponential(1e3 / rate_per_s, count).cumsum()


def response_times_ms(arrival_ms_n: np.ndarray, service_ms_n: np.ndarray, servers: int = 1) -> np.ndarray:
    """Time in ms from each request's arrival to its response, waiting included, float64 `[n]`; arrivals ascending.

    Raises ValueError for times that are negative, not in order or not equally many.
    """
    if len(arrival_ms_n) != len(service_ms_n) or servers < 1:
        got = f"{len(arrival_ms_n)} and {len(service_ms_n)}, {servers}"
        raise ValueError(f"arrivals and services must be equally many and servers at least 1, but got {got}")
    if (np.diff(arrival_ms_n) < 0).any() or (service_ms_n < 0).any():
        raise ValueError("arrivals must be in order of time and services at least 0 ms, but some are not")
    free_at = [0.0] * servers
    response_n = np.empty(len(arrival_ms_n))
    for index, (arrival, service) in enumerate(zip(arrival_ms_n.tolist(), service_ms_n.tolist(), strict=True)):
        done = max(arrival, free_at[0]) + service
        heapq.heapreplace(free_at, done)
        response_n[index] = done - arrival
    return response_n


@dataclass(frozen=True)
class TrafficFigures:
    """Figures of open-loop traffic: `latency_ms` (mean, p50, p90, p95, p99, worst), waiting included.

    `load` is the share of time in which servers are busy; at 1 or more the queue grows without bound.
    """

    rate_per_s: float
    load: float
    mean_service_ms: float
    latency_ms: dict[str, float]


def traffic_figures(
    service_ms_n: np.ndarray, rate_per_s: float, requests: int, seed: int, servers: int = 1
) -> TrafficFigures:
    """Simulate `requests` Poisson arrivals whose service times are drawn from `service_ms_n` (one per sample)."""
    rng = np.random.default_rng([seed, 1])
    drawn_n = rng.choice(np.asarray(service_ms_n, float), requests)
    response_n = response_times_ms(poisson_arrivals(requests, rate_per_s, seed), drawn_n, servers)
    mean = float(np.mean(service_ms_n))
    latency = {"mean": float(response_n.mean())}
    latency |= {name: float(np.percentile(response_n, percent)) for name, percent in PERCENTILES.items()}
    latency["worst"] = float(response_n.max())
    return TrafficFigures(rate_per_s, rate_per_s * mean / 1e3 / servers, mean, latency)
