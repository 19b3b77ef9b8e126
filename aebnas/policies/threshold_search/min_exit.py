"""Minimum depth on a table: who may not leave yet scores 0 there, which no threshold lets out.

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


def with_min_exit(scored: ThresholdProblem, table: ExitTable, least: MinExits) -> ThresholdProblem:
    """What a search for thresholds sees where nobody leaves before `least`; its policies say so, too.

    Raises ValueError where classes have depths of their own and the table doesn't know which were predicted.
    """
    if least == MinExits():
        return scored
    scores_nk = scored.scores_nk.copy()
    scores_nk[:, : least.all] = 0.0
    if least.by_class:
        if table.predicted_ne is None:
            raise ValueError("depths by class need the classes predicted at each exit, but the table has none")
        first_c = np.array(least.by_class)
        too_early_nk = first_c[table.predicted_ne[:, : scored.early]] > np.arange(scored.early)
        scores_nk[too_early_nk] = 0.0
    return replace(scored, scores_nk=scores_nk, make=partial(_with_depth, scored.make, least))


def min_exits_of(policy: ExitPolicy) -> MinExits:
    """The minimum depth that a policy's rules keep to."""
    rule, by_class = policy.find(MinExit), policy.find(MinExitByClass)
    return MinExits(0 if rule is None else rule.exit_index, () if by_class is None else by_class.exits)


def _with_depth(make: Callable[[Thresholds], ExitPolicy], least: MinExits, thresholds: Thresholds) -> ExitPolicy:
    return make(thresholds).with_rules(*least.rules)
