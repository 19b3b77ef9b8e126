"""Finding a network's policies as specified by a space: over all its rules, by the method it names.

Legend: n samples, e exits.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from aebnas.core.metrics import ACCURACY, MACS
from aebnas.core.spec_base import updated
from aebnas.policies.exit_table.class_accuracy import balancing_weights
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
    """The exact joint grid where it is small enough, else the Lagrangian sweep over the same candidates."""
    return (joint_grid if grid_fits(scored, per_exit) else lagrangian)(scored, per_exit)


METHODS: dict[str, Callable[[ThresholdProblem, np.ndarray, int], Found]] = {
    "auto": lambda scored, last_n, per_exit: automatic(scored, per_exit),
    "joint": lambda scored, last_n, per_exit: joint_grid(scored, per_exit),
    "lagrangian": lambda scored, last_n, per_exit: lagrangian(scored, per_exit),
    "value_iteration": lambda scored, last_n, per_exit: dart_frontier(scored, last_n, bins=per_exit),
    "greedy": lambda scored, last_n, per_exit: greedy(scored, per_exit),
    "fixed": lambda scored, last_n, per_exit: fixed(scored),
}
"""Method name -> function from a problem, the last exit's scores `[n]` and the number of quantiles to a frontier."""


def find(
    table: ExitTable,
    spec: PolicySpec,
    optimise: OptimiseSpec,
    min_exits: MinExits | None = None,
    cost: str = MACS,
    accuracy: str = ACCURACY,
) -> Found:
    """The frontier of an accuracy and a cost of the policies that a space allows, on one network's table.

    `accuracy` is one that `core.metrics.tuned_accuracy` gives. Where the network has no early exit all rules are
    equivalent, and only the first is searched. Raises ValueError where the table lacks values that a rule uses (such as
    stop heads), the labels for the accuracy, or the cost.
    """
    if cost not in table.costs:
        raise ValueError(f"the cost must be one of {', '.join(table.costs)}, but got '{cost}'")
    min_exits = min_exits or MinExits()
    frontiers = []
    if PATIENCE in spec.criterion:
        frontiers.append(patience_frontier(table, spec.patience, cost, min_exits, accuracy))
    for scored, last_n in threshold_problems(table, spec, cost, min_exits):
        scored = for_accuracy(scored, table, accuracy)
        frontiers.append(METHODS[optimise.method](scored, last_n, optimise.per_exit))
    return merged(frontiers if table.exits > 1 else frontiers[:1])


def for_accuracy(scored: ThresholdProblem, table: ExitTable, accuracy: str) -> ThresholdProblem:
    """The problem of finding thresholds for an accuracy: each class's samples count as much as those of any other class
    for `balanced_accuracy`. Raises ValueError where the table lacks the labels for it."""
    if accuracy == ACCURACY:
        return scored
    if table.labels_n is None:
        raise ValueError(f"{accuracy} requires labels in the table, but it has none")
    return replace(scored, weight_n=balancing_weights(table.labels_n))


def rules_for(spec: PolicySpec, stop_heads: bool) -> PolicySpec:
    """The rules that every command searches for a network under a space's policy spec.

    They are the spec's and, where the network has stop heads that none of these uses, `learned` and `dual`. Genes
    name their criteria, to which none is added.
    """
    if spec.needs_stop_heads or not stop_heads or spec.thresholds.genes is not None:
        return spec
    return updated(spec, {"criterion": (*spec.criterion, LEARNED, DUAL)})


def threshold_problems(
    table: ExitTable, spec: PolicySpec, cost: str, min_exits: MinExits
) -> Iterator[tuple[ThresholdProblem, np.ndarray]]:
    """The problem of each rule that has thresholds, and the last exit's scores `[n]`."""
    for rule in spec.criterion:
        if rule == DUAL:
            for tau_s in spec.stop_thresholds:
                scored = dual_scores(table, tau_s, "confidence", cost)
                yield with_min_exit(scored, table, min_exits), table.scores["confidence"][:, -1]
        elif rule != PATIENCE:
            scored = ThresholdProblem.of(table, rule, cost)
            yield with_min_exit(scored, table, min_exits), table.scores[rule][:, -1]
