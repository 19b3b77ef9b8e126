"""BranchyNet's exit rule (Teerapittayanon et al. 2016): one entropy for all exits, set by hand."""

import math
from collections.abc import Sequence

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.fixed import fixed
from aebnas.policies.threshold_search.frontier import Frontier
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

ENTROPIES = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Entropies in nats, of the sizes BranchyNet screened."""


def branchynet(
    table: ExitTable, classes: int, entropies: Sequence[float] = ENTROPIES, cost: str = "macs"
) -> Frontier[ExitPolicy]:
    """The frontier over entropies: a sample leaves if its entropy (nats) is below it.

    As a score, 1 - H / ln(classes). Above entropies of ln(classes) every sample leaves.
    """
    values = [max(0.0, 1.0 - entropy / math.log(classes)) for entropy in entropies]
    return fixed(ThresholdProblem.of(table, "entropy", cost), values)
