"""Polynomials whose k-th coefficient is the number of ways to build something with k exits."""

import numpy as np

Ways = list[int]
"""Ways by number of exits; Python integers, since spaces outgrow 64 bits."""


def multiply(a: Ways, b: Ways) -> Ways:
    """The ways of two things that are selected independently."""
    return list(np.polynomial.polynomial.polymul(np.array(a, dtype=object), np.array(b, dtype=object)))


def add(a: Ways, b: Ways) -> Ways:
    """The ways of either of two things."""
    length = max(len(a), len(b))
    return [(a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) for i in range(length)]
