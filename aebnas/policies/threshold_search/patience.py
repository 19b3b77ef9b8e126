"""Policies with the rule `Patience` on a table: a search over the sets of exits that run.

An exit that doesn't run interrupts no streak and (unless the network is boosted) costs nothing, so fewer exits can
raise or lower both cost and accuracy. Every set of exits is therefore evaluated as a policy.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from aebnas.core.metrics import ACCURACY, MACS
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.frontier import Frontier, TunedPolicy
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import Patience
from aebnas.space.min_exits import MinExits

ALL_SETS_UP_TO = 12
"""Number of early exits; with more, only sets of every exit, every second, third, ... from one exit on are searched."""


def patience_frontier(
    table: ExitTable,
    patience: Sequence[int],
    cost: str = MACS,
    min_exits: MinExits | None = None,
    accuracy: str = ACCURACY,
) -> Frontier[ExitPolicy]:
    """The frontier over the sets of exits that run and the numbers of exits that have to agree, `patience`."""
    rules = (min_exits or MinExits()).rules
    found = []
    for agree in patience:
        for running in _sets(table.exits - 1):
            policy = ExitPolicy(
                "confidence",
                tuple(0.0 if runs else None for runs in running),
                table.temperatures,
                (Patience(agree), *rules),
            )
            figures = score_policy(table, policy)
            found.append(TunedPolicy(policy, figures.share(accuracy), figures.mean_cost[cost]))
    return Frontier.of(found, table.costs[cost].full)


def _sets(early: int) -> Iterator[tuple[bool, ...]]:
    if early <= ALL_SETS_UP_TO:
        yield from product((True, False), repeat=early)
        return
    yield (False,) * early
    for first in range(early):
        for step in range(1, early - first + 1):
            yield tuple(index >= first and (index - first) % step == 0 for index in range(early))
