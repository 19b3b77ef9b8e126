"""95 % intervals of accuracies and of their differences, from the number of images they were measured on.

They cover the sampling of the images, nothing else: neither the selection bias of taking the best of many networks on
them, nor the variance between training seeds.
"""

import math
from collections.abc import Mapping

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(share: float, samples: int) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share in [0, 1] of `samples`: `(low, high)`, within [0, 1].

    Unlike share +- 2 standard errors it is valid for few samples and for shares near 0 or 1. Raises ValueError for a
    share out of range or no samples.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must lie in [0, 1], but got {share}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, but got {samples}")
    z_squared = Z_95**2 / samples
    middle = share + z_squared / 2
    half = math.sqrt(z_squared * (share * (1 - share) + z_squared / 4))
    low, high = (middle - half) / (1 + z_squared), (middle + half) / (1 + z_squared)
    return max(0.0, min(share, low)), min(1.0, max(share, high))  # rounding must not exclude the share


def difference(first: float, first_samples: int, second: float, second_samples: int) -> tuple[float, float]:
    """Newcombe's interval (1998, method 10) of `first - second`, shares of independent samples: `(low, high)`.

    It is computed from the two Wilson intervals. Raises ValueError as `wilson` does.
    """
    first_low, first_high = wilson(first, first_samples)
    second_low, second_high = wilson(second, second_samples)
    return (
        first - second - math.hypot(first - first_low, second_high - second),
        first - second + math.hypot(first_high - first, second - second_low),
    )


def accuracy_bounds(metrics: Mapping[str, float], samples: int) -> dict[str, float]:
    """`accuracy_low` and `accuracy_high` of an operating point's metrics, measured on `samples` images."""
    low, high = wilson(metrics["accuracy"], samples)
    return {"accuracy_low": low, "accuracy_high": high}
