"""Temperature scaling of every exit (Guo et al. 2017).

Legend: n samples, e exits, c classes.
"""

import numpy as np
from scipy.optimize import brentq

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def fit_temperature(logits_nc: np.ndarray, labels_n: np.ndarray) -> float:
    """The temperature that minimises the cross-entropy of logits / T (Guo et al. 2017).

    The loss is convex in 1 / T, so its slope has one zero; where that lies outside [0.05, 20] the nearer end is
    taken (if all predictions are right, T = 0 would be best). Raises ValueError where there are no samples.
    """
    if not len(labels_n):
        raise ValueError("a temperature must be fitted on at least one sample, but got none")
    logits_nc = logits_nc.astype(float) - logits_nc.max(axis=1, keepdims=True)
    true_n = logits_nc[np.arange(len(labels_n)), labels_n]

    def slope(inverse: float) -> float:
        weights_nc = np.exp(inverse * logits_nc)
        expected_n = (weights_nc * logits_nc).sum(axis=1) / weights_nc.sum(axis=1)
        return float((expected_n - true_n).mean())

    low, high = 1.0 / MAX_TEMPERATURE, 1.0 / MIN_TEMPERATURE
    if slope(low) >= 0.0:
        return MAX_TEMPERATURE
    if slope(high) <= 0.0:
        return MIN_TEMPERATURE
    return 1.0 / float(brentq(slope, low, high, xtol=1e-9))


def fit_temperatures(logits_nec: np.ndarray, labels_n: np.ndarray) -> tuple[float, ...]:
    """A temperature for every exit, each fitted by itself on all samples."""
    return tuple(fit_temperature(logits_nec[:, exit_], labels_n) for exit_ in range(logits_nec.shape[1]))
