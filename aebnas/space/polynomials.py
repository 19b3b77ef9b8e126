"""Polynomials whose k-th coefficient is the number of ways to build something with k exits."""

import numpy as np

Ways = list[int]
"""Number of ways by number of exits; Python integers, since 64 bits are too few."""


def multiply(a: Ways, b: Ways) -> Ways:
    """The ways to build two independently selected parts."""
    return list(np.polynomial.polynomial.polymul(np.array(a, dtype=object), np.array(b, dtype=object)))


def add(a: Ways, b: Ways) -> Ways:
    """The ways to build one of two alternatives."""
    length = max(len(a), len(b))
    return [(a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) for i in range(length)]
