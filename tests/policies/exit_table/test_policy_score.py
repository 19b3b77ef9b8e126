"""Scores of a policy by hand, and against the MACs of a running network."""

import numpy as np
import pytest
import torch
from hand_table import CORRECT, SCORES

from aebnas.cost.counts import count_graph
from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.space.lowering import lower


def test_a_score_by_hand(table):
    # sample 0 leaves at exit 1 (right), sample 1 at exit 2 (right), 2 at exit 2 (wrong), 3 at exit 3 (right)
    score = score_policy(table, ExitPolicy("margin", (0.5, 0.3)))
    assert table.exit_taken(ExitPolicy("margin", (0.5, 0.3))).tolist() == [0, 1, 1, 2]
    assert score.accuracy == 0.75
    assert score.avg_macs == (11 + 33 + 33 + 67) / 4
    assert score.avg_macs_taken_only == (11 + 32 + 32 + 64) / 4
    assert score.exit_shares == (0.25, 0.5, 0.25)
    assert score.exit_accuracy == (1.0, 0.5, 1.0)


def test_a_never_exits_branch_is_not_charged(table):
    score = score_policy(table, ExitPolicy("margin", (None, 0.3)))
    # sample 0 doesn't leave at exit 2 (score 0.1) and is wrong at the last
    assert table.exit_taken(ExitPolicy("margin", (None, 0.3))).tolist() == [2, 1, 1, 2]
    assert score.accuracy == 0.5
    assert score.avg_macs == (66 + 32 + 32 + 66) / 4
    assert score.avg_macs_taken_only == (64 + 32 + 32 + 64) / 4
    assert score.exit_shares == (0.0, 0.5, 0.5)
    assert score.exit_accuracy == (None, 0.5, 0.5)


def test_an_exit_that_no_sample_takes_is_charged_unless_never(table):
    closed, never = (score_policy(table, ExitPolicy("margin", (value,) * 2)) for value in (1.0, None))
    assert (closed.accuracy, never.accuracy) == (0.75, 0.75)
    assert (closed.avg_macs, never.avg_macs) == (67.0, 64.0)
    assert closed.avg_macs_taken_only == never.avg_macs_taken_only == 64.0


def test_a_network_without_early_exits():
    table = ExitTable({"margin": SCORES[:, :1]}, CORRECT[:, :1], {"macs": ExitCosts((10,), (1,))})
    score = score_policy(table, ExitPolicy("margin", ()))
    assert (score.accuracy, score.avg_macs, score.exit_shares) == (0.5, 11.0, (1.0,))


def test_average_macs_equal_those_of_the_running_network(digits, architectures, random_network, pixels):
    architecture = next(a for a in architectures(digits, 100) if len(a.exits) == 2)
    network, x = random_network(architecture), pixels(architecture, 24)
    macs = count_graph(lower(architecture)).macs
    with torch.no_grad():
        table = ExitTable.from_logits(torch.stack(network(x), 1), torch.zeros(24), ["margin"], {"macs": macs})
    medians = np.median(table.scores["margin"], 0)[:2].tolist()
    for thresholds in [medians, (None, medians[1]), (medians[0], None)]:
        spent = count_spent(network, x, ExitPolicy("margin", tuple(thresholds)))
        score = score_policy(table, ExitPolicy("margin", tuple(thresholds)))
        assert 0 < score.exit_shares[2] < 1
        assert score.avg_macs == pytest.approx(spent / 24)


def count_spent(network: Network, x, policy):
    """MACs of convolutions and linear layers that ran, by hooks."""
    spent, handles = [], []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            hook = lambda m, _, out: spent.append(m.weight[0].numel() * out.numel())  # noqa: E731
            handles.append(layer.register_forward_hook(hook))
    network.infer(x, policy)
    for handle in handles:
        handle.remove()
    return sum(spent)
