"""The listener that the command line and the Python API attach to searches and to operations on a selected model.

It shows the live line of a search, writes TensorBoard scalars, plots and the HTML page.
"""

from collections.abc import Sequence
from typing import Any

from aebnas.core.metrics import MACS, mean_of
from aebnas.policies.analysis.adaptation_replay import Replay
from aebnas.report.adaptation_plot import plot_trajectories
from aebnas.report.html import write_html
from aebnas.report.live import LiveSearch
from aebnas.report.payload import digest_of
from aebnas.report.policy_plot import plot_frontiers
from aebnas.report.reliability_plot import plot_reliability
from aebnas.report.search_plot import plot_front
from aebnas.report.tensorboard import Scalars, TrainingScalars
from aebnas.run.events import PolicyFrontiers, ReliabilityPair, RunEvents
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.trial import Trial
from aebnas.training.task import Row


class RunReport(RunEvents):
    """Writes all reports of a run to its folder, and its live line beside the progress bar; a context manager."""

    def __init__(self, facts: RunFacts) -> None:
        super().__init__(facts)
        self.tensorboard = (facts.folder / "tensorboard").resolve()  # workers may have another working directory
        self.picks = facts.folder / "picks"
        self._live: LiveSearch | None = None
        self._trainings: dict[str, TrainingScalars] = {}

    def search_started(self) -> None:
        """See `RunEvents`; the live line measures the speed from this time."""
        self._live = LiveSearch(self.facts, Scalars(self.tensorboard / "search"))

    def trial_finished(self, trial: Trial, is_new: bool) -> str:
        """See `RunEvents`; returns the live line."""
        return "" if self._live is None else self._live.add(trial, is_new)

    def search_finished(self) -> None:
        """Write `pareto.png` and `report.html` from the trials on disk."""
        digest = digest_of(self.facts)
        plot_front(self.facts, digest)
        write_html(self.facts, digest)

    def training_rows(self, name: str, rows: Sequence[Row]) -> None:
        """Write new rows as scalars."""
        if name not in self._trainings:
            self._trainings[name] = TrainingScalars(self.tensorboard / name)
        self._trainings[name].write(rows)

    def selected_model_changed(self, point_id: str) -> None:
        """Write `report.html` again."""
        run = self.facts.run
        with run.update_lock():  # other processes may be retraining other points
            write_html(self.facts, digest_of(self.facts))

    def calibrated(self, point_id: str, exits: Sequence[ReliabilityPair], overall: ReliabilityPair) -> None:
        """Write `picks/<id>-reliability.png`."""
        plot_reliability(exits, overall, self.picks / f"{point_id}-reliability.png")

    def policies_swept(self, frontiers: PolicyFrontiers) -> None:
        """Write a plot with the name of the table."""
        title = f"{frontiers.point_id}, search split (N = {frontiers.samples:,})"
        macs = frontiers.cost == mean_of(MACS)
        unit, scale = ("average MACs per sample, in millions", 1e6) if macs else (f"mean {frontiers.cost}", 1.0)
        image = frontiers.table.with_suffix(".png")
        plot_frontiers(frontiers.curves, frontiers.marks, title, image, unit, scale, accuracy=frontiers.accuracy)

    def adaptation_replayed(self, point_id: str, replay: Replay) -> None:
        """Write `picks/<id>-adaptation.png`."""
        plot_trajectories(replay, self.picks / f"{point_id}-adaptation.png")

    def close(self) -> None:
        """Close the TensorBoard files."""
        open_scalars = [training.scalars for training in self._trainings.values()]
        for scalars in [*open_scalars, *([] if self._live is None else [self._live.scalars])]:
            scalars.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_live": None}  # a worker only raises events of trainings
