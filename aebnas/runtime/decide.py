"""When to stop: exit criteria and the ExitPolicy that applies them.

Every criterion is a score in [0, 1]; a sample leaves at an exit if its score is **greater than** the exit's
threshold. An exit can be switched off (`None`, written `never` in YAML): a 32-bit softmax rounds to exactly
1.0, so a threshold of 1.0 alone would be one rounding away from letting samples out.

Legend: n samples, c classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
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


@dataclass(frozen=True)
class ExitPolicy:
    """A criterion and one threshold for every exit but the last, which always answers.

    Raises ValueError for an unknown criterion or a threshold outside [0, 1].
    """

    criterion: str
    thresholds: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, but got '{self.criterion}'")
        for number, threshold in enumerate(self.thresholds, start=1):
            if threshold is not None and not 0.0 <= threshold <= 1.0:
                raise ValueError(f"threshold of exit {number} must lie in [0, 1] or be never, but got {threshold}")

    def runs(self, exit_index: int) -> bool:
        """Whether the branch of this exit runs at all; a `never` exit's branch doesn't, and costs nothing."""
        return exit_index >= len(self.thresholds) or self.thresholds[exit_index] is not None

    def stops(self, exit_index: int, logits_nc: Tensor) -> Tensor:
        """Which samples leave at this exit, bool `[n]`."""
        if exit_index >= len(self.thresholds):
            return torch.ones(len(logits_nc), dtype=torch.bool, device=logits_nc.device)
        threshold = self.thresholds[exit_index]
        if threshold is None:
            return torch.zeros(len(logits_nc), dtype=torch.bool, device=logits_nc.device)
        return CRITERIA[self.criterion](logits_nc) > threshold

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; a `never` exit is null."""
        return {"criterion": self.criterion, "thresholds": list(self.thresholds)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ExitPolicy":
        """Read what `to_json` wrote."""
        return cls(value["criterion"], tuple(value["thresholds"]))
