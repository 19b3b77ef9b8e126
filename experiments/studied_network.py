"""One selected model's recorded outputs as tables, with the difficulty of the images: the input of the policy study.

Legend: n samples, e exits.
"""

from functools import cached_property

import numpy as np

from aebnas.policies.calibration.temperature import fit_temperatures
from aebnas.policies.calibration.tuning import Rules
from aebnas.policies.exit_table.difficulty_fit import fit_difficulty, raw_terms
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.tabulate import with_difficulty_of
from aebnas.policies.threshold_search.dart import DartSetting, dart_scores
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec

PER_EXIT = 40
SEED = 11
PUBLISHED_BETA_DIFF = 0.3


class StudiedNetwork:
    """Tables under the temperatures of `calibrate`, made from recorded outputs at their first use.

    `tuned` is the difficulty's setting found on `calibrate`; `published` has DART's weights and beta_diff.
    """

    def __init__(self, outputs: SelectedModelOutputs) -> None:
        self.outputs = outputs
        self.rules = Rules(PolicySpec(), OptimiseSpec(per_exit=PER_EXIT))

    @cached_property
    def temperatures(self) -> tuple[float, ...]:
        """The temperature of every exit, fitted on `calibrate`."""
        recorded = self.outputs.logits("calibrate")
        return fit_temperatures(recorded.logits_nec.numpy(), recorded.labels_n.numpy())

    @cached_property
    def published(self) -> DartSetting:
        """DART's weights and beta_diff; constants fitted on `calibrate`."""
        return DartSetting(fit_difficulty(self.outputs.images("calibrate")), PUBLISHED_BETA_DIFF, 0.0)

    @cached_property
    def tuned(self) -> DartSetting:
        """Weights and beta_diff tuned by cross-validation on `calibrate`."""
        difficulty = self.published.difficulty
        terms_n3 = raw_terms(self.outputs.images("calibrate"), difficulty.tau_edge)
        return self.rules.dart_setting(self.calibrate_published, difficulty, terms_n3, SEED)

    def table(self, split: str, difficulty: Difficulty) -> ExitTable:
        """The table of a split with the images' difficulty."""
        table = self.outputs.table(split, self.temperatures)
        return with_difficulty_of(table, difficulty, self.outputs.images(split))

    @cached_property
    def calibrate(self) -> ExitTable:
        """`calibrate` under the tuned difficulty."""
        return self.table("calibrate", self.tuned.difficulty)

    @cached_property
    def calibrate_published(self) -> ExitTable:
        """`calibrate` under the published difficulty."""
        return self.table("calibrate", self.published.difficulty)

    @cached_property
    def certify(self) -> ExitTable:
        """`certify` under the tuned difficulty."""
        return self.table("certify", self.tuned.difficulty)

    @cached_property
    def test(self) -> ExitTable:
        """The test set under the tuned difficulty."""
        return self.table("test", self.tuned.difficulty)

    @cached_property
    def test_published(self) -> ExitTable:
        """The test set under the published difficulty."""
        return self.table("test", self.published.difficulty)

    def test_for(self, policy: ExitPolicy) -> ExitTable:
        """The test set with the difficulty that a policy uses."""
        return self.test_published if policy.difficulty == self.published.difficulty else self.test

    @cached_property
    def problem(self) -> ThresholdProblem:
        """The problem of finding confidence thresholds on `calibrate`."""
        return ThresholdProblem.of(self.calibrate, "confidence")

    @property
    def full_macs(self) -> float:
        """MACs of the network where all exits run."""
        return self.calibrate.costs["macs"].full

    @property
    def estimator_macs(self) -> int:
        """MACs of estimating an image's difficulty."""
        return int(self.calibrate.difficulty_costs["macs"])

    def eq19(
        self, table: ExitTable, setting: DartSetting, estimator_macs: int | None = None
    ) -> tuple[ThresholdProblem, np.ndarray]:
        """The problem of finding DART's base thresholds, and the last exit's scores `[n]`; the estimate is charged."""
        alpha_n = table.alpha_n
        assert alpha_n is not None, "tables of the study hold difficulties"
        charged = self.estimator_macs if estimator_macs is None else estimator_macs
        scored = dart_scores(self.problem, setting.difficulty, alpha_n, setting.beta_diff, charged)
        return scored, np.maximum(table.scores["confidence"][:, -1] - np.float32(setting.beta_diff) * alpha_n, 0)
