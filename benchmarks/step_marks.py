"""Where the time of training steps goes: marks at the ends of their parts, set in aebnas's own loop.

The loop itself has no clocks; its progress bar, batches, task and optimiser are replaced by ones that mark.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from aebnas.data.batches import Batches
from aebnas.training.task import Row, Task

DATA, OTHER, OPTIMISER, AVERAGE = "data", "other", "clipping and optimiser", "schedule and weight averaging"


class Marks:
    """Times at which parts of training steps end, by the name of the part; `between` runs after each step, untimed."""

    def __init__(
        self, device: torch.device, clock: Callable[[], float], between: Callable[[], object] = lambda: None
    ) -> None:
        self.device, self.clock, self.between = device, clock, between
        self.steps: list[list[tuple[str, Any]]] = []

    def begin_step(self) -> None:
        """A step begins."""
        self.steps.append([])
        self.mark("")

    def mark(self, part: str) -> None:
        """A part has ended."""
        if self.device.type == "cuda":
            now: Any = torch.cuda.Event(enable_timing=True)
            now.record()
        else:
            now = self.clock()
        self.steps[-1].append((part, now))

    def seconds(self) -> list[dict[str, float]]:
        """Of each step, by part."""
        gpu = self.device.type == "cuda"
        if gpu:
            torch.cuda.synchronize(self.device)
        found = []
        for step in self.steps:
            parts: dict[str, float] = defaultdict(float)
            for (_, start), (part, end) in pairwise(step):
                parts[part] += start.elapsed_time(end) / 1e3 if gpu else end - start
            found.append(parts)
        return found

    @contextmanager
    def progress(self, label: str, steps: int, done: int) -> Iterator["Marks"]:
        """A progress bar for aebnas's loop."""
        self.begin_step()
        yield self
        self.steps.pop()  # what follows the last step is none

    def advance(self, steps: int = 1, note: str = "") -> None:
        """What the loop calls after each step."""
        self.mark(AVERAGE)
        self.between()
        self.begin_step()


class MarkedBatches(Batches):
    """Batches that mark when each is there."""

    marks: Marks

    def epoch(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in super().epoch(*args, **kwargs):
            self.marks.mark(DATA)
            yield batch


class MarkedTask:
    """A task that marks forward and backward pass of each of its losses, which are named."""

    def __init__(self, task: Task, marks: Marks, names: list[str]) -> None:
        self.task, self.marks, self.names = task, marks, names
        self.module, self.stateful = task.module, task.stateful

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def losses(self, x_nchw: Tensor, labels_n: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        self.marks.mark(OTHER)
        losses = self.task.losses(x_nchw, labels_n, rng)
        for name in self.names:
            loss = next(losses, None)
            if loss is None:
                return
            self.marks.mark(f"{name}, forward")
            yield loss
            self.marks.mark(f"{name}, backward")
        assert next(losses, None) is None, "a loss without a name"

    def validate(self, module: nn.Module) -> list[Row]:
        return []


@contextmanager
def marked_optimiser(marks: Marks) -> Iterator[None]:
    """Marks each step of any optimiser."""
    hook = register_optimizer_step_post_hook(lambda *_: marks.mark(OPTIMISER))
    try:
        yield
    finally:
        hook.remove()
