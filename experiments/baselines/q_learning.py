"""The RL baseline: an agent that learns by trial and error when to leave, on the scores of an ExitTable.

Tabular Q-learning (Watkins & Dayan 1992). A state is (exit, bin of its score), the actions are exit and continue; an
episode is one sample on its way. Leaving at exit i earns [right] - beta_opt * C_i, C_i the share of the full cost;
going on earns nothing yet. What was learned becomes a threshold per exit.

Legend: n samples, e exits, k early exits, b bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aebnas.policies.threshold_search.frontier import Frontier, frontier_of
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

EXIT, CONTINUE = 0, 1


@dataclass(frozen=True)
class Learning:
    """How the agent learns: passes over the table, step size (falling to 0 over the passes), share of random moves."""

    passes: int = 20
    step: float = 0.2
    explore: float = 0.2
    bins: int = 20


def q_learning(scored: ThresholdProblem, beta_opt: float, seed: int, learning: Learning | None = None) -> np.ndarray:
    """The thresholds an agent learns for the trade-off `beta_opt` in [0, 1], float32 `[k]`, infinity for never.

    Equal for an equal seed. A bin holds about as many samples as another, per exit. Raises ValueError for another
    `beta_opt`.
    """
    if not 0.0 <= beta_opt <= 1.0:
        raise ValueError(f"beta_opt must lie in [0, 1], but got {beta_opt}")
    learning = learning or Learning()
    edges = [_edges(scored.scores_nk[:, exit_], learning.bins) for exit_ in range(scored.early)]
    bin_nk = np.empty((scored.samples, scored.early), int)
    for exit_, edge in enumerate(edges):
        bin_nk[:, exit_] = np.searchsorted(edge, scored.scores_nk[:, exit_])
    reward_ne = scored.correct_ne - beta_opt * scored.costs.to_exit_ne() / scored.full_cost
    visits_kb, q_kb2 = _learn(bin_nk, reward_ne, learning, np.random.default_rng(seed))
    learned = [_threshold(q_kb2[k], visits_kb[k], edges[k], scored.lowest) for k in range(scored.early)]
    return np.array(learned, dtype=np.float32)


def q_frontier(
    scored: ThresholdProblem, betas: Sequence[float], seed: int, learning: Learning | None = None
) -> Frontier[ExitPolicy]:
    """The frontier of the policies learned for several trade-offs."""
    return frontier_of(scored, np.stack([q_learning(scored, beta, seed, learning) for beta in betas]))


def _edges(scores_n: np.ndarray, bins: int) -> np.ndarray:
    """Midpoints between neighbouring observed scores near the quantiles, so that no score lies on an edge."""
    observed = np.unique(scores_n)
    wanted = np.unique(np.searchsorted(observed, np.quantile(scores_n, np.arange(1, bins) / bins)))
    wanted = wanted[(wanted > 0) & (wanted < len(observed))]
    return ((observed[wanted - 1].astype(np.float64) + observed[wanted]) / 2).astype(np.float32)


def _learn(
    bin_nk: np.ndarray, reward_ne: np.ndarray, learning: Learning, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Visits `[k, b]` and values `[k, b, 2]` after all episodes."""
    samples, early = bin_nk.shape
    q = np.zeros((early, learning.bins, 2))
    visits = np.zeros((early, learning.bins), int)
    steps = learning.passes * samples
    rewards = reward_ne.tolist()
    bins = bin_nk.tolist()
    for number, sample in enumerate(np.concatenate([rng.permutation(samples) for _ in range(learning.passes)])):
        step = learning.step * (1 - number / steps)
        random_e = rng.random((early, 2))
        path, reward = bins[sample], rewards[sample]
        for index, place in enumerate(path):
            visits[index, place] += 1
            if random_e[index, 0] < learning.explore:
                action = int(random_e[index, 1] < 0.5)
            else:
                action = int(q[index, place].argmax())
            if action == EXIT:
                gain = reward[index]
            else:
                gain = q[index + 1, path[index + 1]].max() if index + 1 < early else reward[-1]
            q[index, place, action] += step * (gain - q[index, place, action])
            if action == EXIT:
                break
    return visits, q


def _threshold(q_b2: np.ndarray, visits_b: np.ndarray, edges: np.ndarray, lowest: float) -> float:
    """The threshold above which leaving gains most over all visits; never where leaving gains nothing."""
    gain_b = (q_b2[:, EXIT] - q_b2[:, CONTINUE]) * visits_b
    # gain of leaving in bin b and all above it
    tails = np.concatenate([gain_b[::-1].cumsum()[::-1][: len(edges) + 1], [0.0]])
    best = int(tails.argmax())
    if best > len(edges):
        return np.inf
    return lowest if best == 0 else float(edges[best - 1])
