"""The factor on the learning rate over a training: a function of `progress`, the share of it that is done."""

import math
from collections.abc import Callable, Mapping

TRIANGLE_START, TRIANGLE_END = 0.2, 0.07
"""Factors at the start and at the end of the triangular schedule (Jordan 2024)."""


def cosine(progress: float, warmup: float) -> float:
    """A linear rise from 0 over the share `warmup`, then a half cosine to 0 (Loshchilov & Hutter 2017)."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def linear(progress: float, warmup: float) -> float:
    """A linear rise from 0 over the share `warmup`, then a linear fall to 0."""
    return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)


def triangle(progress: float, warmup: float) -> float:
    """A linear rise from 0.2 over the share `warmup`, then a linear fall to 0.07."""
    if progress < warmup:
        return TRIANGLE_START + (1 - TRIANGLE_START) * progress / warmup
    return TRIANGLE_END + (1 - TRIANGLE_END) * (1 - progress) / (1 - warmup)


SCHEDULES: Mapping[str, Callable[[float, float], float]] = {"cosine": cosine, "linear": linear, "triangle": triangle}
"""Name in a spec -> the factor from progress in [0, 1] and the share of the warm-up."""
