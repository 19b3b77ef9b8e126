"""How much of a training is done: the share on which its schedule, resolution and exits depend."""

from collections.abc import Mapping
from typing import Any

from aebnas.training.compute.compute_meter import PETA, ComputeMeter
from aebnas.training.training_spec import TrainSpec

PARTS = 1000
"""Parts of a training by which progress is shown where only its compute is limited."""


class Length:
    """The steps and compute of a training against the limits of its spec; `per_epoch` is steps in an epoch.

    The loop calls `count` after each step.
    """

    def __init__(self, spec: TrainSpec, per_epoch: int, compute: ComputeMeter) -> None:
        self.max_steps, self.max_pflop = spec.planned_steps(per_epoch), spec.max_pflop
        self.steps, self.last_pflop, self.compute = 0, 0.0, compute

    def count(self, flop: float) -> None:
        """Count a step, and its FLOP on all ranks."""
        self.steps += 1
        self.last_pflop = flop / PETA
        self.compute.add(flop)

    @property
    def progress(self) -> float:
        """The share done, in [0, 1]: of the steps or of the PFLOP, whichever is larger."""
        of_steps = 0.0 if self.max_steps is None else self.steps / self.max_steps
        return min(1.0, max(of_steps, self.compute.share_of(self.max_pflop)))

    @property
    def midway(self) -> float:
        """The share that will be done in the middle of the next step, if it is as long as the last one.

        The learning rate follows it, so that neither the first nor the last step has a rate of 0.
        """
        of_steps = 0.0 if self.max_steps is None else (self.steps + 0.5) / self.max_steps
        half = 0.0 if self.max_pflop is None else 0.5 * self.last_pflop / self.max_pflop
        return min(1.0, max(of_steps, self.compute.share_of(self.max_pflop) + half))

    @property
    def total(self) -> int:
        """Length for a progress bar: steps, or thousandths of the compute where only that is limited."""
        return PARTS if self.max_steps is None or self.max_pflop is not None else self.max_steps

    @property
    def done(self) -> int:
        """Of `total`."""
        return int(self.progress * self.total + 1e-9)

    def state_dict(self) -> dict[str, Any]:
        """The steps done; the compute is saved on its own."""
        return {"steps": self.steps, "last_pflop": self.last_pflop}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.steps, self.last_pflop = state["steps"], state["last_pflop"]
