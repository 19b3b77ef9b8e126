"""The RL baseline learns what can be worked out by hand, and repeats itself."""

import numpy as np
import pytest
from baselines.q_learning import Learning, q_frontier, q_learning

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

COSTS = ExitCosts((40, 100), (0, 0))


def scored(scores_nk, correct_ne, costs=COSTS):
    return ThresholdProblem(
        np.array(scores_nk, dtype=np.float32),
        np.array(correct_ne, dtype=bool),
        costs,
        lambda t: ExitPolicy("margin", t),
    )


def sure_means_right(samples=400):
    """The early exit is right above a score of 0.6 and wrong below; the last one is always right."""
    scores_n = np.linspace(0.01, 0.99, samples, dtype=np.float32)
    return scored(scores_n[:, None], np.stack([scores_n > 0.6, np.ones(samples, bool)], 1))


def test_the_agent_learns_to_leave_where_the_early_exit_is_right():
    # leaving right earns 1 - 0.4 beta, going on 1 - beta, leaving wrong -0.4 beta
    threshold = q_learning(sure_means_right(), beta_opt=0.5, seed=3)[0]
    assert threshold == pytest.approx(0.6, abs=0.06)


def test_without_a_price_and_with_a_useless_early_exit_it_never_leaves_there():
    useless = scored(np.linspace(0.01, 0.99, 200)[:, None], [[False, True]] * 200)
    assert np.isinf(q_learning(useless, beta_opt=0.0, seed=3)[0])


def test_where_the_last_exit_is_no_better_everybody_leaves_at_once():
    same = scored(np.linspace(0.01, 0.99, 200)[:, None], [[True, True]] * 200)
    assert q_learning(same, beta_opt=1.0, seed=3)[0] == 0.0


def test_equal_seeds_learn_equal_thresholds():
    rng = np.random.default_rng(0)
    table = scored(rng.random((300, 2)), rng.random((300, 3)) < [0.5, 0.7, 0.9], ExitCosts((20, 60, 100), (5, 5, 5)))
    learning = Learning(passes=3)
    one, same = (q_learning(table, 0.4, 5, learning) for _ in range(2))
    assert one.tolist() == same.tolist() and len(one) == 2


def test_the_frontier_is_of_several_trade_offs():
    found = q_frontier(sure_means_right(100), (0.0, 0.5, 1.0), seed=1, learning=Learning(passes=5))
    assert found.points and all(isinstance(point.policy, ExitPolicy) for point in found.points)


def test_another_trade_off_is_refused():
    with pytest.raises(ValueError, match=r"beta_opt must lie in \[0, 1\], but got 2"):
        q_learning(sure_means_right(20), 2, 0)
