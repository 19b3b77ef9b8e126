"""Events that searches and the operations on a selected model raise while they run.

The raising code is independent of the listener: the command line and the Python API pass one that writes reports and
plots.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aebnas.policies.analysis.adaptation_replay import Replay
from aebnas.policies.calibration.reliability import Reliability
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.trial import Trial
from aebnas.training.loop import write_rows
from aebnas.training.task import Row

ReliabilityPair = tuple[Reliability, Reliability]
"""Before temperatures, and under them."""


@dataclass(frozen=True)
class PolicyFrontiers:
    """Frontiers of `accuracy` and the mean of `cost` (metrics) of one selected model on `samples` images.

    `curves` maps each method to costs and accuracies of its policies, in any order; `marks` maps the names of single
    policies to cost and accuracy. `table` is the CSV file that holds all of them.
    """

    point_id: str
    cost: str
    accuracy: str
    samples: int
    curves: Mapping[str, tuple[Sequence[float] | Any, Sequence[float] | Any]]
    marks: Mapping[str, tuple[float, float]]
    table: Path


class RunEvents:
    """A listener that does nothing, the base of others. A context manager, closed when the work is done.

    An event is raised after its data were written to disk. A listener must be picklable, since `training_rows` is
    raised in the process that trains.
    """

    def __init__(self, facts: RunFacts) -> None:
        self.facts = facts

    def search_started(self) -> None:
        """The evaluation of trials begins."""

    def trial_finished(self, trial: Trial, is_new: bool) -> str:
        """A trial is finished; `is_new` is False if an earlier session recorded it. Returns a text to be shown beside
        the progress bar."""
        return ""

    def search_finished(self) -> None:
        """The final front was written."""

    def training_rows(self, name: str, rows: Sequence[Row]) -> None:
        """All validation rows so far of the training called `name`."""

    def selected_model_changed(self, point_id: str) -> None:
        """The record of a selected point has changed: it was retrained, calibrated, evaluated or measured."""

    def calibrated(self, point_id: str, exits: Sequence[ReliabilityPair], overall: ReliabilityPair) -> None:
        """`calibrate` measured the reliability of each exit, and of the predictions given under the policy."""

    def policies_swept(self, frontiers: PolicyFrontiers) -> None:
        """`sweep` found the frontiers of a selected model's policies."""

    def adaptation_replayed(self, point_id: str, replay: Replay) -> None:
        """`evaluate --full` replayed online adaptation on a stream of images."""

    def close(self) -> None:
        """No further event will be raised."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


Listen = Callable[[RunFacts], RunEvents]
"""Makes the listener of a run; `RunEvents` itself makes one that does nothing."""


@dataclass(frozen=True)
class TrainingRows:
    """Receives all validation rows so far of a training: writes them to the CSV file `path`, then raises the event.

    `path` must be absolute, since a worker may have another working directory.
    """

    path: Path
    events: RunEvents
    name: str

    def __call__(self, rows: list[Row]) -> None:
        write_rows(self.path, rows)
        self.events.training_rows(self.name, rows)
