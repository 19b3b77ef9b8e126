"""Monitoring a deployed model: exit rates, mean confidences, and whether the rates have drifted.

The expected exit rates are those on the samples that the policy was evaluated on. After each full window of inferences
the window's rates are compared with them; a rate outside its band sets the drift flag. Bands are chosen so that without
drift a window sets the flag with a probability of about `level` (normal approximation of two independent samples,
Bonferroni over exits).

`watch` is a pure function (expected, state, observations) -> state; the state has constant size.
Legend: n samples, e exits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .fresh_lock import FreshLock


@dataclass(frozen=True)
class Expected:
    """Exit rates `shares [e]` measured on `samples` samples, the window length and the probability of a false alarm in
    a window.

    Raises ValueError for values out of range.
    """

    shares: tuple[float, ...]
    samples: int
    window: int = 1000
    level: float = 0.001

    def __post_init__(self) -> None:
        if not self.shares or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares must be at least 0 and sum to 1, but got {self.shares}")
        if self.samples < 1 or self.window < 1:
            raise ValueError(f"samples and window must be at least 1, but got {self.samples} and {self.window}")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level must lie in (0, 1), but got {self.level}")

    @property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest rate of each exit in a window without drift."""
        z = NormalDist().inv_cdf(1 - self.level / (2 * len(self.shares)))
        bands = []
        for share in self.shares:
            # also a measured rate of 0 or 1 has the uncertainty of a finite sample
            likely = (share * self.samples + 0.5) / (self.samples + 1)
            spread = z * math.sqrt(likely * (1 - likely) * (1 / self.window + 1 / self.samples)) + 1 / self.window
            bands.append((max(0.0, share - spread), min(1.0, share + spread)))
        return tuple(bands)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; the bands are for readers, `from_json` doesn't read them."""
        bands = [list(band) for band in self.bands]
        return {"exit_shares": list(self.shares), "samples": self.samples} | {
            "window": self.window,
            "level": self.level,
            "bands": bands,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Expected:
        """Read what `to_json` wrote."""
        return cls(tuple(value["exit_shares"]), value["samples"], value["window"], value["level"])


class MonitorState(NamedTuple):
    """The state: counts and summed confidences since the start, the counts of the window that isn't full
    yet, full windows seen, how many of them drifted, and the rates of the last one (None before the first)."""

    counts_e: Tensor
    confidence_e: Tensor
    open_e: Tensor
    windows: int = 0
    drifted: int = 0
    last_e: tuple[float, ...] | None = None


def initial_monitor_state(expected: Expected) -> MonitorState:
    """The state before the first sample."""
    zeros_e = torch.zeros(len(expected.shares), dtype=torch.int64)
    return MonitorState(zeros_e, zeros_e.double(), zeros_e.clone())


def watch(expected: Expected, state: MonitorState, exit_n: Tensor, confidence_n: Tensor) -> MonitorState:
    """The state after n more samples, in the order in which they were seen.

    The result doesn't depend on how they are split into calls. Raises ValueError for exits out of range.
    """
    exits = len(expected.shares)
    if len(exit_n) and not 0 <= int(exit_n.min()) <= int(exit_n.max()) < exits:
        raise ValueError(f"exits must be in 0..{exits - 1}, but got {int(exit_n.min())}..{int(exit_n.max())}")
    exit_n = exit_n.cpu()
    confidence_e = torch.zeros(exits, dtype=torch.float64).index_add(0, exit_n, confidence_n.cpu().double())
    state = state._replace(
        counts_e=state.counts_e + torch.bincount(exit_n, minlength=exits),
        confidence_e=state.confidence_e + confidence_e,
    )
    while len(exit_n):
        room = expected.window - int(state.open_e.sum())
        state = state._replace(open_e=state.open_e + torch.bincount(exit_n[:room], minlength=exits))
        exit_n = exit_n[room:]
        if int(state.open_e.sum()) == expected.window:
            state = _closed(expected, state)
    return state


def _closed(expected: Expected, state: MonitorState) -> MonitorState:
    rates_e = tuple((state.open_e.double() / expected.window).tolist())
    return state._replace(
        open_e=torch.zeros_like(state.open_e),
        windows=state.windows + 1,
        drifted=state.drifted + bool(exits_out_of_band(expected, rates_e)),
        last_e=rates_e,
    )


def exits_out_of_band(expected: Expected, rates_e: tuple[float, ...]) -> tuple[int, ...]:
    """The exits (from 0) whose rates are outside their bands."""
    pairs = zip(rates_e, expected.bands, strict=True)
    return tuple(index for index, (rate, (low, high)) in enumerate(pairs) if not low <= rate <= high)


class Monitor:
    """Applies `watch` to a state, which may be stored and replaced; several threads may `record` at once."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.state = initial_monitor_state(expected)
        self._lock = FreshLock()

    def record(self, logits_nc: Tensor, exit_n: Tensor) -> None:
        """Count predictions by their logits (divided by temperatures, if there are any) and the exits they left by."""
        confidence_n = logits_nc.float().softmax(-1).amax(-1) if len(logits_nc) else logits_nc.new_zeros(0)
        exit_n, confidence_n = exit_n.cpu(), confidence_n.cpu()  # waits for the device without the lock
        with self._lock:
            self.state = watch(self.expected, self.state, exit_n, confidence_n)

    @property
    def drift(self) -> bool:
        """Whether any exit's rate was outside its band in the last full window."""
        return bool(self._out_of_band(self.state))

    def report(self) -> dict[str, Any]:
        """All counts, JSON-ready. Exits are numbered from 1."""
        state, counts_e = self.state, self.state.counts_e.tolist()
        seen = sum(counts_e)
        sums_e = state.confidence_e.tolist()
        out = self._out_of_band(state)
        return {
            "seen": seen,
            "exit_counts": counts_e,
            "exit_rates": [count / seen if seen else 0.0 for count in counts_e],
            "mean_confidence": [
                total / count if count else None for total, count in zip(sums_e, counts_e, strict=True)
            ],
            "expected_rates": list(self.expected.shares),
            "bands": [list(band) for band in self.expected.bands],
            "windows": state.windows,
            "windows_that_drifted": state.drifted,
            "last_window_rates": None if state.last_e is None else list(state.last_e),
            "drift": bool(out),
            "exits_out_of_band": [index + 1 for index in out],
        }

    def _out_of_band(self, state: MonitorState) -> tuple[int, ...]:
        return () if state.last_e is None else exits_out_of_band(self.expected, state.last_e)
