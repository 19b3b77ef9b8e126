"""The figures of a policy against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from random_tables import random_table

from aebnas.cost.exit_costs import ExitCosts, SampleCosts
from aebnas.policies.analysis.description import describe, premature_rate, tail
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import sample_costs, score_policy
from aebnas.runtime.exit_policy import ExitPolicy

SCORES = np.array([[0.9, 0.1], [0.8, 0.8], [0.2, 0.6], [0.1, 0.2]], np.float32)
CORRECT = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool)
COSTS = ExitCosts(backbone_e=(10, 30), branch_e=(1, 2))
POLICY = ExitPolicy("confidence", (0.5,))  # 0 and 1 leave early


@pytest.fixture
def table():
    return ExitTable({"confidence": SCORES}, CORRECT, {"macs": COSTS}, labels_n=np.array([0, 2, 2, 2]))


def test_a_description_by_hand(table):
    found = describe(table, POLICY)
    assert (found.samples, found.accuracy, found.exit_shares) == (4, 0.5, (0.5, 0.5))
    assert found.exit_accuracy == (0.5, 0.5)
    assert found.premature_rate == premature_rate(table, POLICY) == 0.25  # sample 1
    assert found.rescued_rate == 0.25  # sample 0
    macs = found.costs["macs"]
    assert (macs.mean, macs.p50, macs.p90, macs.worst) == (22.0, 11.0, 33.0, 33.0)
    assert found.top_accuracy is None
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.4 + 0.2) / 4)


def test_a_table_without_labels_or_confidence_gives_the_other_figures(table):
    bare = ExitTable({"margin": SCORES}, CORRECT, {"macs": COSTS})
    found = describe(bare, ExitPolicy("margin", (0.5,)))
    assert (found.accuracy, found.ece, found.top_accuracy) == (0.5, None, None)


def test_percentiles_of_a_tail_are_observed_costs():
    found = tail(np.arange(1, 201).astype(float))
    assert (found.mean, found.p50, found.p90, found.p95, found.p99, found.worst) == (100.5, 100, 180, 190, 198, 200)


def test_every_cost_has_a_tail():
    table = random_table(60, 3, 0)
    rng = np.random.default_rng(0)
    latency = SampleCosts(np.cumsum(rng.random((60, 3)), 1), rng.random((60, 3)))
    table = ExitTable(table.scores, table.correct_ne, {**table.costs, "latency_ms": latency})
    policy = ExitPolicy("margin", (None, 0.5))
    found = describe(table, policy)
    assert set(found.costs) == {"macs", "latency_ms"}
    cost_n = sample_costs(table, policy, "latency_ms")
    taken_n = table.exit_taken(policy)
    for sample in range(60):
        ran = [index for index in range(taken_n[sample] + 1) if index != 0]
        expected = latency.backbone_ne[sample, taken_n[sample]] + latency.branch_ne[sample, ran].sum()
        assert cost_n[sample] == pytest.approx(expected)
    assert found.costs["latency_ms"].mean == pytest.approx(score_policy(table, policy).mean_cost["latency_ms"])
    assert found.costs["latency_ms"].worst == cost_n.max()


def test_top_k_accuracy_is_that_of_the_exit_taken():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 3, 10, generator=generator)
    labels = torch.randint(10, (200,), generator=generator)
    table = ExitTable.from_logits(logits, labels, ["confidence"], {"macs": ExitCosts((1, 2, 3), (0, 0, 0))}, True)
    policy = ExitPolicy("confidence", (0.4, 0.3))
    taken = table.exit_taken(policy)
    chosen = logits[torch.arange(200), torch.from_numpy(taken)].half().float()
    found = describe(table, policy, tops=(1, 3, 5, 10, 20)).top_accuracy
    assert set(found) == {1, 3, 5, 10} and found[10] == 1.0
    for k in (3, 5):
        assert found[k] == pytest.approx(
            (chosen.topk(k).indices == labels[:, None]).any(1).float().mean().item(), abs=0.01
        )
    assert found[1] == pytest.approx(describe(table, policy).accuracy, abs=0.01)  # rounding may make ties


def test_of_equal_logits_the_first_is_the_prediction():
    logits = torch.tensor([[[1.0, 1.0, 0.0]], [[1.0, 1.0, 0.0]]])
    table = ExitTable.from_logits(logits, torch.tensor([0, 1]), [], {"macs": ExitCosts((1,), (0,))}, True)
    assert describe(
        ExitTable(
            {"confidence": np.ones((2, 1), np.float32)},
            table.correct_ne,
            table.costs,
            table.labels_n,
            logits_nec=table.logits_nec,
        ),
        ExitPolicy("confidence", ()),
        tops=(1, 2),
    ).top_accuracy == {1: 0.5, 2: 1.0}
