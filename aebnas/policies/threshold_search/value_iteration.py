"""DART's thresholds by value iteration, on transitions and rewards estimated from the table.

States are (exit, difficulty bin, score bin). The reward of leaving at exit i is R = P(right | state) - beta * C_i, with
C_i the cost to exit i, all branches passed charged, divided by the full cost; the value of continuing is the expected
value of the next exit's state, estimated from the samples of the state. V is the larger of the two; gamma is 1, since a
discount would not maximise J = sum_i pi_i (A_i - beta C_i). At the last exit all leave, so one sweep per exit suffices.

It is an approximation: a state doesn't contain the scores of earlier exits, so a transition is that of all samples
in a bin, not only of those that would reach it. The policies are therefore evaluated on the table.

Legend: n samples, e exits, k early exits (e - 1), a difficulty bins, b score bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aebnas.policies.threshold_search.frontier import Frontier, frontier_of
from aebnas.policies.threshold_search.joint_grid import candidate_thresholds, candidates
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

DEFAULT_BETAS = tuple(np.linspace(0.0, 1.0, 41).tolist())


@dataclass(frozen=True)
class Model:
    """A Markov chain over exits: `reward_eab`, and per early exit the probability `next_kabb` of each bin of the next.

    `count_kab` are the numbers of samples that they were estimated from; a state without samples is never entered.
    """

    count_kab: np.ndarray
    reward_eab: np.ndarray
    next_kabb: np.ndarray


def estimate(bin_ne: np.ndarray, bins: int, difficulty_bin_n: np.ndarray, earned_ne: np.ndarray) -> Model:
    """The chain estimated from samples with score bins `bin_ne` and rewards `earned_ne` for leaving at each exit."""
    exits = bin_ne.shape[1]
    groups = int(difficulty_bin_n.max()) + 1
    count = np.zeros((exits, groups, bins))
    reward = np.zeros((exits, groups, bins))
    onward = np.zeros((exits - 1, groups, bins, bins))
    for exit_ in range(exits):
        here = difficulty_bin_n, bin_ne[:, exit_]
        np.add.at(count[exit_], here, 1)
        np.add.at(reward[exit_], here, earned_ne[:, exit_])
        if exit_ + 1 < exits:
            np.add.at(onward[exit_], (*here, bin_ne[:, exit_ + 1]), 1)
    known = np.maximum(count, 1)
    return Model(count[:-1], reward / known, onward / known[:-1, ..., None])


def solve(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Value of every state `[e, a, b]`, and the advantage of leaving over continuing, `[k, a, b]`."""
    value_eab = model.reward_eab.copy()
    advantage_kab = np.zeros_like(model.count_kab)
    for exit_ in reversed(range(len(advantage_kab))):
        onward_ab = np.einsum("abc,ac->ab", model.next_kabb[exit_], value_eab[exit_ + 1])
        advantage_kab[exit_] = model.reward_eab[exit_] - onward_ab
        value_eab[exit_] = np.maximum(model.reward_eab[exit_], onward_ab)
    return value_eab, advantage_kab


def cut(advantage_b: np.ndarray, count_b: np.ndarray) -> int:
    """The number of lowest bins that stay for which the sample-weighted advantage of the bins above is largest.

    Optimal decisions of neighbouring bins may disagree; this is the best single threshold. Ties: the highest.
    """
    gain_c = np.append(np.cumsum((advantage_b * count_b)[::-1])[::-1], 0.0)
    return len(gain_c) - 1 - int(np.argmax(gain_c[::-1]))


def value_iteration(
    scored: ThresholdProblem,
    last_scores_n: np.ndarray,
    beta: float,
    bins: int = 20,
    difficulty_bin_n: np.ndarray | None = None,
) -> np.ndarray:
    """Thresholds of each difficulty bin for a trade-off, float32 `[a, k]`, infinity for never.

    `last_scores_n` are the scores of the last exit, whose states are their bins.
    """
    difficulty_bin_n = np.zeros(scored.samples, dtype=int) if difficulty_bin_n is None else difficulty_bin_n
    grid = candidates(scored, bins - 1)
    last = candidate_thresholds(last_scores_n, bins - 1, scored.lowest)
    columns = [*scored.scores_nk.T, last_scores_n]
    bin_ne = np.stack([np.searchsorted(g, s, side="left") for g, s in zip([*grid, last], columns, strict=True)], 1)
    earned_ne = scored.right_ne - beta * scored.costs.to_exit_ne() / scored.full_cost
    model = estimate(bin_ne, int(bin_ne.max()) + 1, difficulty_bin_n, earned_ne)
    _, advantage_kab = solve(model)
    thresholds_ak = np.empty((advantage_kab.shape[1], scored.early), dtype=np.float32)
    for exit_, thresholds in enumerate(grid):
        for group in range(len(thresholds_ak)):
            stays = cut(advantage_kab[exit_, group], model.count_kab[exit_, group])
            # scores in bin 0 are not above the lowest candidate, so they never leave
            thresholds_ak[group, exit_] = thresholds[min(max(stays - 1, 0), len(thresholds) - 1)]
    return thresholds_ak


def dart_frontier(
    scored: ThresholdProblem, last_scores_n: np.ndarray, betas: Sequence[float] = DEFAULT_BETAS, bins: int = 20
) -> Frontier[ExitPolicy]:
    """The frontier of value iteration over trade-offs, the same thresholds for all difficulties."""
    found = [value_iteration(scored, last_scores_n, beta, bins) for beta in betas]
    return frontier_of(scored, np.concatenate(found))
