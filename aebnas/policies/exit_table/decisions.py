"""Exits taken under any ExitPolicy, from an ExitTable, decided by the same code as in a running network.

Legend: n samples, e exits, k early exits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.exit_rule import ExitObservation, Streak


def exits_taken(policy: ExitPolicy, observations_k: Sequence[ExitObservation], samples: int) -> Tensor:
    """Exit at which each of `samples` samples leaves, int64 `[n]`, from the observations at all early exits.

    Those at exits that don't run are ignored.
    """
    taken_n = torch.full((samples,), len(observations_k), dtype=torch.int64)
    running_n = torch.ones(samples, dtype=torch.bool)
    streak: Streak | None = None
    for index, observation in enumerate(observations_k):
        if policy.runs(index):
            stop_n, streak = policy.stops(index, observation, streak)
            taken_n[running_n & stop_n] = index
            running_n &= ~stop_n
    return taken_n


def observations_of(
    scores_ne: np.ndarray, predicted_ne: np.ndarray, stop_ne: np.ndarray | None, alpha_n: np.ndarray | None
) -> list[ExitObservation]:
    """Observations at the early exits, from the columns of a table (`[n, e]`; stop probabilities `[n, k]`)."""
    return [
        ExitObservation(
            torch.from_numpy(np.ascontiguousarray(scores_ne[:, index])),
            torch.from_numpy(predicted_ne[:, index].astype(np.int64)),
            None if stop_ne is None else torch.from_numpy(np.ascontiguousarray(stop_ne[:, index])),
            None if alpha_n is None else torch.from_numpy(alpha_n),
        )
        for index in range(scores_ne.shape[1] - 1)
    ]
