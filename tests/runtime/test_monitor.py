"""Counting exits after deployment, and the drift flag."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.runtime.monitor import Expected, Monitor, exits_out_of_band, initial_monitor_state, watch

EXPECTED = Expected((0.5, 0.3, 0.2), samples=2000, window=100)


def stream(shares, count, seed):
    generator = torch.Generator().manual_seed(seed)
    if not count:
        return torch.zeros(0, dtype=torch.int64)
    return torch.multinomial(torch.tensor(shares), count, replacement=True, generator=generator)


def test_counts_and_mean_confidence_by_hand():
    monitor = Monitor(Expected((0.5, 0.5), 10, window=4))
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(3)]])
    monitor.record(logits, torch.tensor([0, 0, 1]))
    report = monitor.report()
    assert report["seen"] == 3 and report["exit_counts"] == [2, 1]
    assert report["mean_confidence"] == pytest.approx([0.625, 0.75])
    assert report["windows"] == 0 and report["last_window_rates"] is None and not report["drift"]
    monitor.record(logits[:1], torch.tensor([1]))
    assert monitor.report()["last_window_rates"] == [0.5, 0.5]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 1000))
def test_the_state_does_not_depend_on_the_split_of_samples_into_calls(sizes, seed):
    exits = stream([0.5, 0.3, 0.2], sum(sizes), seed)
    confidence = torch.rand(len(exits), generator=torch.Generator().manual_seed(seed))
    at_once = watch(EXPECTED, initial_monitor_state(EXPECTED), exits, confidence)
    state = initial_monitor_state(EXPECTED)
    for part, confidence_n in zip(exits.split(sizes), confidence.split(sizes), strict=True):
        state = watch(EXPECTED, state, part, confidence_n)
    assert torch.equal(state.counts_e, at_once.counts_e) and torch.equal(state.open_e, at_once.open_e)
    assert torch.allclose(state.confidence_e, at_once.confidence_e)
    assert state[3:] == at_once[3:]


def test_the_rate_of_false_alarms_is_at_most_the_stated_level():
    """Over 3,000 windows at a level of 1 %: at most that plus four standard errors."""
    expected = Expected((0.5, 0.3, 0.2), samples=10**6, window=100, level=0.01)
    exits = stream([0.5, 0.3, 0.2], 300_000, 1)
    state = watch(expected, initial_monitor_state(expected), exits, torch.zeros(len(exits)))
    assert state.windows == 3000
    assert state.drifted / 3000 <= 0.01 + 4 * math.sqrt(0.01 * 0.99 / 3000)


def test_a_changed_rate_sets_the_flag_and_names_the_exits():
    monitor = Monitor(EXPECTED)
    logits = torch.zeros(1000, 2)
    monitor.record(logits[:100], stream([0.5, 0.3, 0.2], 100, 0))
    assert not monitor.drift
    monitor.record(logits[:100], stream([0.1, 0.3, 0.6], 100, 0))
    report = monitor.report()
    assert report["drift"] and set(report["exits_out_of_band"]) == {1, 3} and report["windows_that_drifted"] == 1
    monitor.record(logits[:100], stream([0.5, 0.3, 0.2], 100, 0))
    assert not monitor.drift and monitor.report()["windows_that_drifted"] == 1


def test_an_exit_with_an_expected_rate_of_zero_has_a_band():
    expected = Expected((0.0, 1.0), samples=500, window=1000)
    assert exits_out_of_band(expected, (0.002, 0.998)) == ()
    assert exits_out_of_band(expected, (0.1, 0.9)) == (0, 1)


def test_json_round_trip_and_invalid_values():
    assert Expected.from_json(EXPECTED.to_json()) == EXPECTED
    for shares in ((), (0.5, 0.4), (-0.1, 1.1)):
        with pytest.raises(ValueError, match="shares must be"):
            Expected(shares, 10)
    with pytest.raises(ValueError, match="samples and window"):
        Expected((1.0,), 0)
    with pytest.raises(ValueError, match="level"):
        Expected((1.0,), 1, level=0)
    with pytest.raises(ValueError, match=r"exits must be in 0\.\.2"):
        watch(EXPECTED, initial_monitor_state(EXPECTED), torch.tensor([3]), torch.zeros(1))
