"""Accuracy by class, and what follows from it: the mean over classes, that of the worst one, weights of samples.

A class without a sample has no accuracy and is left out.

Legend: n samples, c classes.
"""

import numpy as np


def class_accuracy(labels_n: np.ndarray, correct_n: np.ndarray) -> np.ndarray:
    """Share of each class's samples that are correct (its recall), `[c]`; NaN without samples."""
    count_c = np.bincount(labels_n)
    return np.bincount(labels_n, weights=correct_n) / np.where(count_c, count_c, np.nan)


def balancing_weights(labels_n: np.ndarray) -> np.ndarray:
    """Weights of samples, float64 `[n]` of mean 1, under which the accuracy is the mean of the classes' accuracies.

    That of a sample of class k is N / (K n_k), with K the number of classes that have samples (scikit-learn's
    "balanced").
    """
    count_c = np.bincount(labels_n)
    return len(labels_n) / (np.count_nonzero(count_c) * count_c[labels_n])
