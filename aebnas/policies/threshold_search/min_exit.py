"""Minimum depth on a table: samples that must not leave at an exit score 0 there, which exceeds no threshold.

Legend: n samples, k early exits.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem, Thresholds
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import MinExit, MinExitByClass
from aebnas.space.min_exits import MinExits


def with_min_exit(scored: ThresholdProblem, table: ExitTable, min_exits: MinExits) -> ThresholdProblem:
    """The problem where no sample leaves before `min_exits`; its policies have the corresponding rules.

    Raises ValueError where minimum exits depend on the class and the table lacks the predicted classes.
    """
    if min_exits == MinExits():
        return scored
    scores_nk = scored.scores_nk.copy()
    scores_nk[:, : min_exits.all] = 0.0
    if min_exits.by_class:
        if table.predicted_ne is None:
            raise ValueError(
                "minimum exits by class require the classes predicted at each exit, but the table has none"
            )
        first_c = np.array(min_exits.by_class)
        too_early_nk = first_c[table.predicted_ne[:, : scored.early]] > np.arange(scored.early)
        scores_nk[too_early_nk] = 0.0
    return replace(scored, scores_nk=scores_nk, make=partial(_with_depth, scored.make, min_exits))


def min_exits_of(policy: ExitPolicy) -> MinExits:
    """The minimum depth of a policy's rules."""
    rule, by_class = policy.find(MinExit), policy.find(MinExitByClass)
    return MinExits(0 if rule is None else rule.exit_index, () if by_class is None else by_class.exits)


def _with_depth(make: Callable[[Thresholds], ExitPolicy], min_exits: MinExits, thresholds: Thresholds) -> ExitPolicy:
    return make(thresholds).with_rules(*min_exits.rules)
