"""Finding a network's policies as a space's YAML specifies: over all its rules, by the method it names.

Legend: n samples, e exits.
"""

from collections.abc import Callable, Iterator

import numpy as np

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.dual_rule import dual_scores
from aebnas.policies.threshold_search.fixed import fixed
from aebnas.policies.threshold_search.frontier import Frontier, merged
from aebnas.policies.threshold_search.greedy import greedy
from aebnas.policies.threshold_search.joint_grid import grid_fits, joint_grid
from aebnas.policies.threshold_search.lagrangian import lagrangian
from aebnas.policies.threshold_search.min_exit import with_min_exit
from aebnas.policies.threshold_search.patience import patience_frontier
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.policies.threshold_search.value_iteration import dart_frontier
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.min_exits import MinExits
from aebnas.space.policy_spec import DUAL, LEARNED, PATIENCE, OptimiseSpec, PolicySpec

Found = Frontier[ExitPolicy]


def automatic(scored: ThresholdProblem, per_exit: int) -> Found:
    """The exact joint grid where it fits, else the Lagrangian sweep over the same candidates."""
    return (joint_grid if grid_fits(scored, per_exit) else lagrangian)(scored, per_exit)


METHODS: dict[str, Callable[[ThresholdProblem, np.ndarray, int], Found]] = {
    "auto": lambda scored, last_n, per_exit: automatic(scored, per_exit),
    "joint": lambda scored, last_n, per_exit: joint_grid(scored, per_exit),
    "lagrangian": lambda scored, last_n, per_exit: lagrangian(scored, per_exit),
    "value_iteration": lambda scored, last_n, per_exit: dart_frontier(scored, last_n, bins=per_exit),
    "greedy": lambda scored, last_n, per_exit: greedy(scored, per_exit),
    "fixed": lambda scored, last_n, per_exit: fixed(scored),
}
"""From scores, the last exit's scores and the number of quantiles to a frontier."""


def find(
    table: ExitTable,
    spec: PolicySpec,
    optimise: OptimiseSpec,
    least: MinExits | None = None,
    cost: str = "macs",
) -> Found:
    """The frontier of accuracy and a cost of the policies that a space allows, on one network's table.

    Where the network has no early exit the rules don't differ, and the first stands for all. Raises ValueError where
    the table lacks what a rule looks at (stop heads, say) or the cost.
    """
    if cost not in table.costs:
        raise ValueError(f"the cost must be one of {', '.join(table.costs)}, but got '{cost}'")
    least = least or MinExits()
    frontiers = []
    if PATIENCE in spec.criterion:
        frontiers.append(patience_frontier(table, spec.patience, cost, least))
    for scored, last_n in score_tables(table, spec, cost, least):
        frontiers.append(METHODS[optimise.method](scored, last_n, optimise.per_exit))
    return merged(frontiers if table.exits > 1 else frontiers[:1])


def rules_for(spec: PolicySpec, stop_heads: bool) -> PolicySpec:
    """The rules that are searched for a network under a space's policy spec, wherever that is done.

    They are the spec's and, where the network has stop heads that none of these looks at, `learned` and `dual`. Genes
    name their criteria, to which none is added.
    """
    if spec.needs_stop_heads or not stop_heads or spec.thresholds.genes is not None:
        return spec
    # not `updated`: threshold genes can't express `dual`, but these rules are searched on tables, not by genes
    return spec.model_copy(update={"criterion": (*spec.criterion, LEARNED, DUAL)})


def score_tables(
    table: ExitTable, spec: PolicySpec, cost: str, least: MinExits
) -> Iterator[tuple[ThresholdProblem, np.ndarray]]:
    """For each rule that has thresholds what a search for them sees, and the last exit's scores `[n]`."""
    for rule in spec.criterion:
        if rule == DUAL:
            for tau_s in spec.stop_thresholds:
                scored = dual_scores(table, tau_s, "confidence", cost)
                yield with_min_exit(scored, table, least), table.scores["confidence"][:, -1]
        elif rule != PATIENCE:
            scored = ThresholdProblem.of(table, rule, cost)
            yield with_min_exit(scored, table, least), table.scores[rule][:, -1]
