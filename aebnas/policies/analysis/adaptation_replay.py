"""Online adaptation replayed on the samples of an ExitTable as a stream.

Legend: n samples of the stream, e exits, k classes, u updates.
"""

from dataclasses import dataclass

import numpy as np
import torch

from aebnas.policies.exit_table.decisions import exits_taken
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import difficulty_cost
from aebnas.runtime.adaptation import (
    UNKNOWN,
    AdaptivePolicy,
    AdaptState,
    Observation,
    adapt,
    current_factors,
    current_policy,
    initial_state,
    until_update,
)


@dataclass(frozen=True)
class Replay:
    """The stream's exits taken, correctness and costs (of the selected metric, audits charged), each `[n]`.

    After each of u updates: `seen_u` samples, the current coefficients `[u, e - 1, k]` and the current `arm_u`.
    """

    exit_n: np.ndarray
    right_n: np.ndarray
    cost_n: np.ndarray
    audited_n: np.ndarray
    seen_u: np.ndarray
    coefficients_uek: np.ndarray
    arm_u: np.ndarray
    state: AdaptState


def replay(
    table: ExitTable, policy: AdaptivePolicy, stream_n: np.ndarray, cost: str = "macs", feedback: bool = False
) -> Replay:
    """Replay the samples `stream_n` (indices) in that order; labels are those of audits, or all with `feedback`.

    An audited sample runs again to the last exit, whose prediction is its label: both runs are charged. Raises
    ValueError where the table lacks values that the policy uses.
    """
    costs = table.costs[cost]
    full_cost = costs.full
    audit_ne = costs.to_exit_ne(np.arange(table.exits) == table.exits - 1)  # no early branch runs
    predicted_ne = table.predicted_ne
    if predicted_ne is None:
        raise ValueError("a replay requires the classes predicted at each exit, but the table has none")
    state = initial_state(policy)
    exits, spent, audits, seen, coefficients, arms = [], [], [], [], [], []
    start = 0
    while start < len(stream_n):
        part_n = stream_n[start : start + until_update(policy, state)]
        current = current_policy(policy, state)
        exit_n = exits_taken(current, table.observe(current, part_n), len(part_n)).numpy()
        audited_n = policy.audited(state.seen, len(part_n)).numpy()
        runs_e = np.array([current.runs(index) for index in range(table.exits)])
        cost_n = _at(costs.to_exit_ne(runs_e), part_n, exit_n) + difficulty_cost(table, current, cost)
        cost_n += audited_n * _at(audit_ne, part_n, table.exits - 1)
        class_n = predicted_ne[part_n, exit_n]
        label_n = _labels(table, part_n, predicted_ne, audited_n, feedback)
        state = adapt(
            policy,
            state,
            Observation(
                torch.from_numpy(exit_n),
                torch.from_numpy(class_n.astype(np.int64)),
                torch.from_numpy(cost_n / full_cost),
                torch.from_numpy(label_n),
            ),
        )
        start += len(part_n)
        exits.append(exit_n)
        spent.append(cost_n)
        audits.append(audited_n)
        if state.seen % policy.every == 0:
            seen.append(state.seen)
            coefficients.append(current_factors(policy, state))
            arms.append(state.arm)
    exit_n = np.concatenate(exits) if exits else np.zeros(0, dtype=np.int64)
    return Replay(
        exit_n,
        table.correct_ne[stream_n, exit_n],
        np.concatenate(spent) if spent else np.zeros(0),
        np.concatenate(audits) if audits else np.zeros(0, dtype=bool),
        np.array(seen, dtype=np.int64),
        np.array(coefficients).reshape(len(seen), table.exits - 1, policy.classes),
        np.array(arms, dtype=np.int64),
        state,
    )


def _labels(
    table: ExitTable, part_n: np.ndarray, predicted_ne: np.ndarray, audited_n: np.ndarray, feedback: bool
) -> np.ndarray:
    if not feedback:
        return np.where(audited_n, predicted_ne[part_n, -1], UNKNOWN).astype(np.int64)
    if table.labels_n is None:
        raise ValueError("feedback requires labels in the table, but it has none")
    return table.labels_n[part_n].astype(np.int64)


def _at(cost_ne: np.ndarray, part_n: np.ndarray, exit_n: np.ndarray | int) -> np.ndarray:
    return cost_ne[part_n if len(cost_ne) > 1 else 0, exit_n]
