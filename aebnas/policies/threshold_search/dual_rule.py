"""The dual rule on a table: a sample stops if its stop probability exceeds tau_s and its score exceeds tau_c.

Where the stop probability doesn't exceed tau_s the sample must not leave, so its score is set to 0. With these scores
any search finds tau_c of each exit for a given tau_s.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import StopHeads


def dual_scores(table: ExitTable, tau_s: float, criterion: str = "confidence", cost: str = "macs") -> ThresholdProblem:
    """The problem of finding tau_c under one tau_s for all exits; raises ValueError for a table without stop heads."""
    if table.stop_nk is None:
        raise ValueError("the dual rule requires stop heads, but the network has none")
    scored = ThresholdProblem.of(table, criterion, cost)
    rules = (StopHeads((tau_s,) * (table.exits - 1)),)
    make = partial(ExitPolicy, criterion, temperatures=table.temperatures, rules=rules)
    masked_nk = np.where(table.stop_nk > np.float32(tau_s), scored.scores_nk, np.float32(0.0))
    return replace(scored, scores_nk=masked_nk, make=make)
