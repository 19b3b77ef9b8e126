"""Exit criteria: the certainty of an exit, from its logits or its stop head, each a score in [0, 1].

Legend: n samples, c classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ctypes import c_float
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def confidence(logits_nc: Tensor) -> Tensor:
    """Largest softmax probability, `[n]`."""
    return logits_nc.float().softmax(-1).amax(-1)


def entropy(logits_nc: Tensor) -> Tensor:
    """1 - H(p) / ln(c), `[n]`: 1 when certain, 0 when uniform (BranchyNet, scaled to [0, 1])."""
    log_p = logits_nc.float().log_softmax(-1)
    normalised = -(log_p.exp() * log_p).sum(-1) / math.log(logits_nc.shape[-1])
    return (1.0 - normalised).clamp(0.0, 1.0)


def margin(logits_nc: Tensor) -> Tensor:
    """Difference of the two largest softmax probabilities, `[n]` (AEBNAS)."""
    top = logits_nc.float().softmax(-1).topk(2, -1).values
    return top[..., 0] - top[..., 1]


CRITERIA: dict[str, Callable[[Tensor], Tensor]] = {
    "confidence": confidence,
    "entropy": entropy,
    "margin": margin,
}
"""Criteria computed from an exit's logits."""


def _single_sample_margin(logits_1c: Tensor) -> float:
    *_, second, first = sorted(logits_1c.softmax(-1).tolist()[0])
    return c_float(first - second).value  # rounded as 32-bit floats are subtracted


SINGLE_SAMPLE_SCORES: dict[str, Callable[[Tensor], float]] = {
    "confidence": lambda logits_1c: max(logits_1c.softmax(-1).tolist()[0]),
    "margin": _single_sample_margin,
}
"""Criteria with a faster score for one sample: from float32 logits `[1, c]`, bitwise equal to that of `CRITERIA`."""

LEARNED = "learned"
"""The criterion computed from an exit's stop head: its probability to stop, sigma(u_i(h_i))."""
