"""The part of the policy study about difficulty: does it help to raise thresholds for difficult images?

Methods at equal budgets: the joint grid without difficulty; under Eq. 19 with the tuned setting, with the cost of the
estimate and without (`free`); with the published setting; and DART's value iteration with thresholds per difficulty
bin. Thresholds are found on `calibrate`, figures are those of the test set.

Legend: n samples.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from baselines.binned_dart import dart_binned_frontier
from sklearn.metrics import roc_auc_score
from studied_network import PER_EXIT, StudiedNetwork

from aebnas.policies.exit_table.difficulty_fit import estimator_latency_ms
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.find import Found
from aebnas.policies.threshold_search.joint_grid import joint_grid
from aebnas.runtime.exit_policy import ExitPolicy

WITHOUT = "joint grid"
FREE = "joint grid, Eq. 19, free"
THIRDS = ("easy", "middle", "hard")
Z95 = 1.959964


def difficulty_frontiers(network: StudiedNetwork) -> dict[str, Found]:
    """The policies of each method, found on `calibrate`."""
    alpha_n, last_n = network.calibrate.alpha_n, network.calibrate.scores["confidence"][:, -1]
    assert alpha_n is not None, "tables of the study hold difficulties"
    charged = replace(network.problem, costs=network.problem.costs.plus(network.estimator_macs))
    return {
        WITHOUT: joint_grid(network.problem, PER_EXIT),
        "joint grid, Eq. 19": joint_grid(network.eq19(network.calibrate, network.tuned)[0], PER_EXIT),
        FREE: joint_grid(network.eq19(network.calibrate, network.tuned, estimator_macs=0)[0], PER_EXIT),
        "joint grid, Eq. 19 as published": joint_grid(
            network.eq19(network.calibrate_published, network.published)[0], PER_EXIT
        ),
        "value iteration, difficulty bins": dart_binned_frontier(charged, last_n, network.tuned.difficulty, alpha_n),
    }


def at_budgets(network: StudiedNetwork, shares: tuple[float, ...]) -> pd.DataFrame:
    """A row for each method and budget (shares of the MACs without exits) that it can satisfy on `calibrate`.

    `gain` is its accuracy minus that of the joint grid without difficulty on the same images, with the 95 % interval of
    the paired difference (normal approximation). Thirds are those of the test images' tuned difficulty.
    """
    test = network.test
    assert test.alpha_n is not None, "tables of the study hold difficulties"
    third_n = np.searchsorted(np.quantile(test.alpha_n, (1 / 3, 2 / 3)), test.alpha_n)
    frontiers, rows = difficulty_frontiers(network), []
    for share in shares:
        budget = share * network.outputs.macs_without_exits
        base_n = _outcome(network, frontiers[WITHOUT].within(budget).policy)[1]
        for method, found in frontiers.items():
            point = found.within(budget)
            if point.cost > budget:
                continue
            taken_n, right_n = _outcome(network, point.policy)
            macs = score_policy(network.test_for(point.policy), point.policy).avg_macs
            gain_n = right_n.astype(float) - base_n
            margin = Z95 * gain_n.std() / np.sqrt(len(gain_n))
            row: dict[str, Any] = {"method": method, "budget": budget, "accuracy": right_n.mean()}
            row |= {"avg_macs": macs - (network.estimator_macs if method == FREE else 0)}
            row |= {"gain": gain_n.mean(), "gain_low": gain_n.mean() - margin, "gain_high": gain_n.mean() + margin}
            for third, name in enumerate(THIRDS):
                here_n = third_n == third
                row |= {f"{name}_accuracy": right_n[here_n].mean(), f"{name}_mean_exit": taken_n[here_n].mean() + 1}
            rows.append(row)
    return pd.DataFrame(rows)


def difficulty_facts(network: StudiedNetwork) -> dict[str, Any]:
    """The network, the settings, the cost of the estimate, and how well it predicts errors of the first exit."""
    outputs, test = network.outputs, network.test
    wrong_n = ~test.correct_ne[:, 0]
    assert test.alpha_n is not None, "tables of the study hold difficulties"
    return {
        "run": outputs.session.run.name,
        "pick": outputs.id,
        "weights": outputs.state.origin,
        "images": {"calibrate": network.calibrate.samples, "test": test.samples},
        "difficulty": network.tuned.difficulty.to_json(),
        "beta_diff": network.tuned.beta_diff,
        "difficulty_as_published": network.published.difficulty.to_json(),
        "beta_diff_as_published": network.published.beta_diff,
        "mean_alpha": float(test.alpha_n.mean()),
        "estimator_macs": network.estimator_macs,
        "estimator_ms": estimator_latency_ms(network.tuned.difficulty, outputs.graph.input_shape),
        "auc_of_wrong_at_exit_1": {
            "difficulty": float(roc_auc_score(wrong_n, test.alpha_n)),
            "confidence": float(roc_auc_score(wrong_n, -test.scores["confidence"][:, 0])),
        },
    }


def _outcome(network: StudiedNetwork, policy: ExitPolicy) -> tuple[np.ndarray, np.ndarray]:
    """The exit (from 0) at which each test image leaves, int `[n]`, and whether it is right there, bool `[n]`."""
    test = network.test_for(policy)
    taken_n = test.exit_taken(policy)
    return taken_n, test.correct_ne[np.arange(test.samples), taken_n]
