"""BranchyNet's rule against the entropies themselves."""

import math

import numpy as np
import pytest
import torch
from baselines.branchynet import branchynet

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.exit_table.exit_table import ExitTable


def test_branchynet_lets_out_whose_entropy_is_below():
    logits = torch.randn(300, 3, 5, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.randint(5, (300,), generator=torch.Generator().manual_seed(1))
    table = ExitTable.from_logits(logits, labels, ["entropy"], {"macs": ExitCosts((10, 50, 90), (1, 1, 1))})
    p = logits.softmax(-1)
    entropy = -(p * p.log()).sum(-1).numpy()
    points = branchynet(table, 5, [0.3]).points
    policy = next(point.policy for point in points if None not in point.policy.thresholds)
    taken = table.exit_taken(policy)
    stops = np.concatenate([entropy[:, :2] < 0.3, np.ones((300, 1), bool)], 1)
    assert taken.tolist() == stops.argmax(1).tolist()
    assert policy.thresholds[0] == pytest.approx(1 - 0.3 / math.log(5))
    assert branchynet(table, 5, [99.0]).points[0].policy.thresholds == (0.0, 0.0)
