"""Averages of the weights over a training: what is validated and saved."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aebnas.training.training_spec import LoopSpec

LOOKAHEAD_DECAY = 0.95
"""Of lookahead, for one step."""


class WeightAverage:
    """The moving average of a module's weights, or lookahead, or neither.

    Raises nothing; `update` is called after each step, `module` is the one to validate. Norm statistics aren't
    averaged: they are estimated for the averaged weights.
    """

    def __init__(self, module: nn.Module, spec: LoopSpec) -> None:
        self.decay, self.every, self.steps = spec.ema, spec.lookahead, 0
        self.module = copy.deepcopy(module) if spec.ema else module
        self._current: list[Tensor] = list(module.parameters())
        self._average = [parameter.detach() for parameter in self.module.parameters()]
        self._slow = [p.detach().clone() for p in self._current] if spec.lookahead else []

    @torch.no_grad()
    def update(self, progress: float) -> None:
        """Take the weights after a step into the average."""
        self.steps += 1
        if self.decay:
            # the decay starts small, so that initial weights don't dominate short trainings
            decay = min(self.decay, self.steps / (9 + self.steps)) if self.steps > 1 else 0.0
            torch._foreach_lerp_(self._average, self._current, 1 - decay)
        elif self.every and self.steps % self.every == 0:
            decay = LOOKAHEAD_DECAY**self.every * progress**3
            torch._foreach_lerp_(self._slow, self._current, 1 - decay)
            for parameter, slow in zip(self._current, self._slow, strict=True):
                parameter.copy_(slow)

    def state_dict(self) -> dict[str, Any]:
        """The average and the number of updates."""
        return {"steps": self.steps, "average": self._average if self.decay else [], "slow": self._slow}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.steps = state["steps"]
        with torch.no_grad():
            average: list[Tensor] = self._average if self.decay else []
            for own, saved in zip([*average, *self._slow], [*state["average"], *state["slow"]], strict=True):
                own.copy_(saved)
