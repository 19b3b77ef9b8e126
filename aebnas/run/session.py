"""An opened run, as all operations on it share it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from aebnas.core.errors import UserError
from aebnas.core.notes import print_note
from aebnas.cost.latency.network_profile import Profile
from aebnas.cost.model import CostModel
from aebnas.data.class_names import location, named_classes
from aebnas.data.data_spec import DataSpec
from aebnas.run.data_check import DataCheck, placed
from aebnas.run.data_record import DataRecord
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.front_files import why_empty
from aebnas.run.run_config import RunConfig
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts, cost_model, read_profile
from aebnas.run.run_images import RunImages
from aebnas.run.selected_state import SelectedModelState, selected_model_state, uncalibrated_state, valid_record
from aebnas.space.genome import SearchSpace
from aebnas.strategies.front import FrontPoint, front, pick


@dataclass(frozen=True)
class RunSession:
    """A run, its experiment and its space; everything else is read when first used.

    `base` is where relative paths of the experiment start, `source` the file that messages about it name. `data_path`
    is where the images lie now, if not where they were last; `verify` compares contents of image files, too.
    """

    run: Run
    experiment: ExperimentSpec
    space: SearchSpace
    base: Path
    source: Path | None = None
    data_path: Path | None = None
    verify: bool = False

    @classmethod
    def open(cls, folder: Path, data_path: Path | None = None, verify: bool = False) -> "RunSession":
        """Open a run from its `config.json`; raises UserError if the folder isn't a run or the file is invalid."""
        run = Run.open(folder)
        config = RunConfig.read(run)
        return cls(run, config.experiment, config.space, config.base, folder / "config.json", data_path, verify)

    @cached_property
    def profile(self) -> Profile | None:
        """The run's copy of its device profile; None if it has none. Raises UserError if it can't be read."""
        return read_profile(self.run, self.experiment)

    @cached_property
    def cost_model(self) -> CostModel:
        """The cost model: counted costs, and predicted ones if the run has a device profile."""
        return cost_model(self.profile)

    @cached_property
    def candidate_cost_model(self) -> CostModel:
        """The cost model of candidates, which charges the stop heads that their training adds."""
        return replace(self.cost_model, stop_heads=self.experiment.ships_stop_heads)

    @cached_property
    def facts(self) -> RunFacts:
        """The facts for files and reports; raises UserError before `protocol.json` is written."""
        return RunFacts.of(self.run, self.experiment, self.space, self.profile, self.candidate_cost_model)

    @cached_property
    def images(self) -> RunImages:
        """The run's images, loaded when first used and compared with the record of them if there is one."""
        record, data = self.data_record, self.data
        if record is None and data.in_files and (self.run.folder / "protocol.json").exists():
            print_note(
                f"{self.run.folder} was made by an earlier version, which read image files by other rules (no EXIF "
                "orientation, no ground below transparent pixels): figures on such files may differ"
            )
        place = location(data, self.base)
        check = None if record is None else DataCheck(record, place, self.data_path is not None, self.verify)
        source = self.source if self.data_path is None else f"--data {self.data_path}"
        return RunImages(self.experiment, data, self.space.spec, self.base, source, check)

    @cached_property
    def data_record(self) -> DataRecord | None:
        """What the run keeps of its images; None before it starts and for runs of version 0.1."""
        return DataRecord.read(self.run)

    @property
    def data(self) -> DataSpec:
        """The experiment's `data`, with the place where the images lie now; raises UserError for a set that needs no
        files but was given a place."""
        spec, record = self.experiment.data, self.data_record
        if self.data_path is not None:
            return placed(spec, self.base, self.data_path)
        if record is None or record.location is None:
            return spec
        return placed(spec, self.base, self.run.folder / record.location)

    def front(self) -> list[FrontPoint]:
        """The front of the trials so far."""
        return front(self.run.recorded(), self.experiment.parsed_objectives(), self.experiment.parsed_constraints())

    def pick(self, rule: str) -> FrontPoint:
        """One point of the front; see `front.pick`. Raises UserError if none matches."""
        points = self.front()
        if not points and (empty := why_empty(self.run)) is not None:
            raise UserError(f"pick '{rule}': the front must hold a point, but {self.run.folder}: {empty}")
        return pick(points, self.experiment.parsed_objectives(), rule)

    def selected_state(self, picked: FrontPoint) -> SelectedModelState:
        """The present weights and policy of a point; see `selected_state.selected_model_state`."""
        return selected_model_state(self.run, self.experiment.scored_weights, picked)

    def uncalibrated_state(self, picked: FrontPoint) -> SelectedModelState:
        """The state of a point without the policy of `calibrate`; see `selected_state.uncalibrated_state`."""
        return uncalibrated_state(self.run, self.experiment.scored_weights, picked)

    def valid_record(self, picked: FrontPoint, what: str) -> dict[str, Any] | None:
        """A record of a point that applies to its present weights and policy; see `selected_state.valid_record`."""
        return valid_record(self.run, self.experiment.scored_weights, picked, what)

    def class_names(self) -> list[str]:
        """Names of the classes at the run's start, or their numbers if the data have no names."""
        if self.data_record is not None:
            return list(self.data_record.class_names)
        return named_classes(self.data, self.base, self.space.spec.classes)
