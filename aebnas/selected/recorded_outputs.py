"""Outputs of a selected model on the images of a split: computed once, stored in the run, then read from there.

They lie under `answers/` in a folder named by architecture and weights, so a retrained model has outputs of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.core.metrics import tuned_accuracy, tuned_cost
from aebnas.core.progress import progress_bar
from aebnas.cost.counts import count_graph
from aebnas.cost.exit_costs import Costs
from aebnas.data.image_set import ImageSet
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.recorded_logits import RecordedLogits
from aebnas.policies.exit_table.sample_costs import table_costs
from aebnas.policies.exit_table.tabulate import record_logits, with_difficulty_of
from aebnas.run.selected_state import SelectedModelState
from aebnas.run.session import RunSession
from aebnas.run.training_setup import repeatable
from aebnas.run.weight_files import weights_digest
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_criteria import LEARNED
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.selected.selected_model import graph_of, load_network, require_weights
from aebnas.strategies.front import FrontPoint

TEST = "test"
LOGIT_SCORES = ("confidence", "entropy", "margin")


@dataclass(frozen=True)
class SelectedModelOutputs:
    """A selected model of a run and its outputs. The network is loaded only for images without recorded outputs."""

    session: RunSession
    picked: FrontPoint

    @classmethod
    def open(cls, folder: Path, rule: str, verify: bool = False) -> "SelectedModelOutputs":
        """Select a point of a run's front by rule; raises UserError if the folder is not a run or no point matches.

        With `verify` contents of image files count, too, when they are compared with those of the run's start.
        """
        session = RunSession.open(folder, verify=verify)
        return cls(session, session.pick(rule))

    @property
    def id(self) -> str:
        """The id on the front."""
        return self.picked[1].id

    @cached_property
    def state(self) -> SelectedModelState:
        """Its weights and the policy in force."""
        return self.session.selected_state(self.picked)

    @cached_property
    def digest(self) -> str:
        """A digest that identifies its weights; raises UserError if they are missing."""
        state = self.session.uncalibrated_state(self.picked)
        require_weights(self.session, self.picked, state)
        return weights_digest(state.weights)

    @cached_property
    def graph(self) -> Graph:
        """The graph of its network."""
        return graph_of(self.session, self.picked)

    @cached_property
    def network(self) -> Network:
        """Its network in evaluation mode, on the CPU."""
        return load_network(self.session, self.picked)

    @cached_property
    def costs(self) -> Mapping[str, Costs]:
        """Its costs to each exit."""
        return self.session.cost_model.exit_costs([self.graph])[0]

    @property
    def tuned_cost(self) -> str:
        """The cost that its search traded against an accuracy."""
        return tuned_cost(self.session.experiment.parsed_objectives())

    @property
    def tuned_accuracy(self) -> str:
        """The accuracy that its search traded against that cost."""
        return tuned_accuracy(self.session.experiment.parsed_objectives())

    @property
    def macs_without_exits(self) -> int:
        """MACs of the same backbone without early exits."""
        return int(count_graph(self.graph).macs.without_exits)

    def images(self, split: str) -> ImageSet:
        """The images of a split, or of the test set; raises UserError for an empty split."""
        if split == TEST:
            return self.session.images.test
        images: ImageSet = getattr(self.session.images.splits, split)
        if not len(images):
            raise UserError(
                f"data.splits.{split}: must be above 0 for this command, but the split is empty in this run"
            )
        return images

    def logits(self, split: str, images: ImageSet | None = None) -> RecordedLogits:
        """Recorded logits `[n, e, c]` of a split or the test set, or of `images`, stored under the name `split`.

        Those of the test set, and of images made of it (`test-...`), are computed anew if it has changed since; the
        other splits are those of the run's start.
        """
        path = self._file(split)
        of_test = split.split("-")[0] == TEST
        fingerprint = self.session.images.test_fingerprint[0] if of_test else ""
        if path.exists():
            recorded = RecordedLogits.load(path)
            if recorded.images == fingerprint or not of_test:
                return recorded
        images = self.images(split) if images is None else images
        with repeatable(self.session.experiment):
            recorded = record_logits(self.network, images, self.session.images.preprocessing, progress_bar)
        recorded = replace(recorded, images=fingerprint)
        recorded.save(path)
        return recorded

    def has_logits(self, split: str) -> bool:
        """Whether logits of a split are recorded, so that no images are needed."""
        return self._file(split).exists()

    def _file(self, split: str) -> Path:
        return self.session.run.folder / "answers" / f"{self.picked[0].architecture.id}-{self.digest}" / f"{split}.npz"

    def table(
        self,
        split: str,
        temperatures: tuple[float, ...] = (),
        keep_logits: bool = False,
        images: ImageSet | None = None,
    ) -> ExitTable:
        """The ExitTable of a split with every score that the network provides."""
        recorded = self.logits(split, images)
        scores = LOGIT_SCORES if recorded.stop_logits_nk is None else (*LOGIT_SCORES, LEARNED)
        costs = table_costs(self.session.cost_model, self.graph, recorded.chosen)
        return recorded.table(scores, costs, keep_logits, temperatures)

    def table_for(
        self, policy: ExitPolicy, split: str, keep_logits: bool = False, images: ImageSet | None = None
    ) -> ExitTable:
        """The ExitTable of a split under the temperatures and with the difficulties that a policy uses."""
        table = self.table(split, policy.temperatures, keep_logits, images)
        if policy.difficulty is None:
            return table
        return self.with_difficulty(table, policy.difficulty, self.images(split) if images is None else images)

    def with_difficulty(self, table: ExitTable, difficulty: Difficulty, images: ImageSet) -> ExitTable:
        """The table of these images with their difficulties; raises UserError if the run's profile lacks the cost of
        estimating them."""
        return with_difficulty_of(table, difficulty, images, self.session.cost_model)
