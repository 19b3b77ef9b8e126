"""From tables and a goal to one policy: on the frontier of `calibrate`, or, for a risk promise, by `certify`.

Legend: n samples, e exits; 3 terms of the difficulty.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from aebnas.core.metrics import ACCURACY, MACS
from aebnas.core.spec_base import updated
from aebnas.policies.calibration.risk_control import RiskPromise, certify, keeps_final_answer, ordered_by_risk
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.dart import DartSetting, dart_scores
from aebnas.policies.threshold_search.dart_tuning import tune_dart, tune_weights
from aebnas.policies.threshold_search.find import Found, automatic, find, for_accuracy, rules_for
from aebnas.policies.threshold_search.goal import Goal
from aebnas.policies.threshold_search.min_exit import with_min_exit
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.architecture import Architecture
from aebnas.space.min_exits import MinExits, min_exits
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec
from aebnas.space.spec import SpaceSpec

DART = "dart"
"""The method whose thresholds rise with an image's difficulty (DART, Eq. 19)."""

MAX_CANDIDATES = 50
"""Maximum number of candidates for a risk promise: with fewer, chance ends the sequence of tests early less often."""

TUNING_PER_EXIT = 8
"""Threshold candidates per exit while DART's setting is tuned, where settings are only compared."""

NO_MIN_EXITS = MinExits()

Finder = Callable[[ExitTable], Found]


def changed_optimise(policy: PolicySpec, changes: Mapping[str, Any]) -> OptimiseSpec:
    """How thresholds are searched in a space, with other values for some keys; raises SpecError for a wrong value.

    Where the space's thresholds are genes, the default OptimiseSpec is changed.
    """
    return updated(policy.thresholds.optimise or OptimiseSpec(), changes, at="policy.thresholds.optimise")


@dataclass(frozen=True)
class Rules:
    """Which policies are searched, and how: for an accuracy (see `core.metrics.tuned_accuracy`) and a cost."""

    spec: PolicySpec
    optimise: OptimiseSpec
    min_exits: MinExits = NO_MIN_EXITS
    cost: str = MACS
    accuracy: str = ACCURACY

    @classmethod
    def of_space(
        cls,
        space: SpaceSpec,
        architecture: Architecture,
        table: ExitTable,
        cost: str = MACS,
        accuracy: str = ACCURACY,
        **changes: Any,
    ) -> "Rules":
        """The rules of a space for one of its networks; `table` shows whether it has stop heads (see `rules_for`).

        `changes` replace fields of the space's OptimiseSpec, which is the default one where thresholds are genes.
        """
        optimise = changed_optimise(space.policy, changes)
        rules = rules_for(space.policy, stop_heads=table.has_stop_heads)
        return cls(rules, optimise, min_exits(space, architecture), cost, accuracy)

    def find(self, table: ExitTable) -> Found:
        """The frontier of the policies under these rules on a table."""
        return find(table, self.spec, self.optimise, self.min_exits, self.cost, self.accuracy)

    def find_dart(self, setting: DartSetting, table: ExitTable) -> Found:
        """The frontier of DART's policies on a table that holds the setting's difficulty, the estimate charged."""
        assert table.alpha_n is not None, "a table for DART holds difficulties"
        estimate = table.difficulty_costs.get(self.cost, 0)
        scored = self._confidence_problem(table)
        shifted = dart_scores(scored, setting.difficulty, table.alpha_n, setting.beta_diff, estimate)
        return automatic(shifted, self.optimise.per_exit)

    def dart_setting(self, table: ExitTable, difficulty: Difficulty, terms_n3: Tensor, seed: int) -> DartSetting:
        """Weights by cross-validated random search, then beta_diff by cross-validation, for the trade-off beta 0.5.

        `terms_n3` are the raw terms of the table's images under the difficulty's `tau_edge`.
        """
        scored = self._confidence_problem(table)
        estimate = table.difficulty_costs.get(self.cost, 0)
        search = partial(automatic, per_exit=TUNING_PER_EXIT)
        with_weights = tune_weights(scored, difficulty, terms_n3, search, 0.5, estimator_cost=estimate, seed=seed)
        return tune_dart(scored, [with_weights.difficulty], terms_n3, search, 0.5, estimator_cost=estimate, seed=seed)

    def _confidence_problem(self, table: ExitTable) -> ThresholdProblem:
        scored = with_min_exit(ThresholdProblem.of(table, "confidence", self.cost), table, self.min_exits)
        return for_accuracy(scored, table, self.accuracy)


@dataclass(frozen=True)
class Tuned:
    """The policy, the frontier it was selected from (for a promise: that of risk and cost), and the promise of a risk
    goal."""

    policy: ExitPolicy
    found: Found
    promise: RiskPromise | None = None


def tune(goal: Goal, finder: Finder, calibrate: ExitTable, certify_table: ExitTable | None = None) -> Tuned:
    """The policy for a goal; a risk goal requires `certify_table`, which must not have been used for anything else."""
    if goal.risk is None:
        found = finder(calibrate)
        return Tuned(goal.choose(found).policy, found)
    assert certify_table is not None, "a risk promise requires certify"
    found = finder(replace(calibrate, correct_ne=keeps_final_answer(calibrate.correct_ne)))
    candidates = ordered_by_risk(found.thinned(MAX_CANDIDATES))
    promise = certify(candidates, certify_table, *goal.risk)
    return Tuned(promise.policy, found, promise)
