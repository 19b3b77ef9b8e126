"""An opened run: what its verbs share. What training and scoring need beyond it has files of its own."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from aebnas.cost.latency.network_profile import Profile
from aebnas.cost.model import CostModel
from aebnas.data.class_names import named_classes
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.run_config import RunConfig
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts, cost_model, read_profile
from aebnas.run.run_images import RunImages
from aebnas.run.selected_state import SelectedModelState, selected_model_state, uncalibrated_state, valid_record
from aebnas.space.genome import SearchSpace
from aebnas.strategies.front import FrontPoint, front, pick


@dataclass(frozen=True)
class RunSession:
    """A run, its experiment and its space; everything else is read when first needed.

    `base` is where the experiment's relative paths start, `source` the file that errors in it are reported for.
    """

    run: Run
    experiment: ExperimentSpec
    space: SearchSpace
    base: Path
    source: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> "RunSession":
        """Open a run from its own `config.json`; raises UserError when the folder isn't a run."""
        run = Run.open(folder)
        config = RunConfig.read(run)
        return cls(run, config.experiment, config.space, config.base, folder / "config.json")

    @cached_property
    def profile(self) -> Profile | None:
        """The device profile that the run began with, its own copy; raises UserError where it can't be read."""
        return read_profile(self.run, self.experiment)

    @cached_property
    def cost_model(self) -> CostModel:
        """What is known of networks' costs without running them."""
        return cost_model(self.profile)

    @cached_property
    def candidate_cost_model(self) -> CostModel:
        """The same for candidates of the search, charged with the stop heads that a training of theirs adds."""
        return replace(self.cost_model, stop_heads=self.experiment.ships_stop_heads)

    @cached_property
    def facts(self) -> RunFacts:
        """The facts that reports state; raises UserError before `protocol.json` is written."""
        return RunFacts.of(self.run, self.experiment, self.space, self.profile, self.candidate_cost_model)

    @cached_property
    def images(self) -> RunImages:
        """The run's images, loaded when first needed."""
        return RunImages(self.experiment, self.space.spec, self.base, self.source)

    def front(self) -> list[FrontPoint]:
        """The front of the trials so far."""
        return front(self.run.trials(), self.experiment.parsed_objectives(), self.experiment.parsed_constraints())

    def pick(self, rule: str) -> FrontPoint:
        """One point of the front; see `front.pick`."""
        return pick(self.front(), self.experiment.parsed_objectives(), rule)

    def selected_state(self, picked: FrontPoint) -> SelectedModelState:
        """The weights and the policy that a point has now."""
        return selected_model_state(self.run, self.experiment.scored_weights, picked)

    def uncalibrated_state(self, picked: FrontPoint) -> SelectedModelState:
        """The same with the policy found after retraining, or the search's, whatever `calibrate` found."""
        return uncalibrated_state(self.run, self.experiment.scored_weights, picked)

    def valid_record(self, picked: FrontPoint, what: str) -> dict[str, Any] | None:
        """A record of a point that applies to its present weights and policy; see `selected_state.valid_record`."""
        return valid_record(self.run, self.experiment.scored_weights, picked, what)

    def class_names(self) -> list[str]:
        """Names of the classes, or their numbers where the spec gives none."""
        return named_classes(self.experiment.data, self.base, self.space.spec.classes)
