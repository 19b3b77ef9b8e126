"""Temperature scaling of every exit (Guo et al. 2017).

Legend: n samples, e exits, c classes.
"""

import numpy as np
from scipy.optimize import brentq

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def fit_temperature(logits_nc: np.ndarray, labels_n: np.ndarray) -> float:
    """The temperature that minimises the cross-entropy of logits / T (Guo et al. 2017).

    The loss is convex in 1 / T, so its slope has one zero; where that is outside [0.05, 20] the nearer bound is
    returned (if all predictions are right, T = 0 would be best). It runs for every candidate of a search, so it has to
    be fast: the root is found in log T, where the slope is closer to linear (6 to 8 steps), and logits stay in 32
    bits. Raises ValueError where there are no samples or logits are not finite.
    """
    if not len(labels_n):
        raise ValueError("a temperature must be fitted on at least one sample, but got none")
    logits_nc = logits_nc - logits_nc.max(axis=1, keepdims=True)
    if not np.isfinite(logits_nc).all():
        raise ValueError("logits must be finite, but got NaN or infinity")
    true_mean = logits_nc[np.arange(len(labels_n)), labels_n].mean(dtype=float)

    def slope(log_temperature: float) -> float:
        weights_nc = np.exp(logits_nc * logits_nc.dtype.type(np.exp(-log_temperature)))
        expected_n = np.einsum("nc,nc->n", weights_nc, logits_nc) / weights_nc.sum(axis=1)
        return float(expected_n.mean(dtype=float) - true_mean)

    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    if slope(high) >= 0.0:
        return MAX_TEMPERATURE
    if slope(low) <= 0.0:
        return MIN_TEMPERATURE
    return float(np.exp(brentq(slope, low, high, xtol=1e-7)))


def fit_temperatures(logits_nec: np.ndarray, labels_n: np.ndarray) -> tuple[float, ...]:
    """A temperature for every exit, each fitted separately on all samples."""
    return tuple(fit_temperature(logits_nec[:, exit_], labels_n) for exit_ in range(logits_nec.shape[1]))
