"""The dual rule found on a table: its policies score as the search states."""

import numpy as np
import pytest
import torch

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.dual_rule import dual_scores
from aebnas.policies.threshold_search.find import find
from aebnas.runtime.gate_rules import StopHeads
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec

COSTS = {"macs": ExitCosts((30, 60, 100), (2, 3, 4))}


@pytest.fixture
def tables():
    """One network's tables at two temperatures; stop heads predict whether an exit is right."""
    generator = torch.Generator().manual_seed(3)
    labels_n = torch.randint(0, 4, (200,), generator=generator)
    logits_nec = torch.randn(200, 3, 4, generator=generator)
    logits_nec[torch.arange(200), :, labels_n] += torch.tensor([1.0, 2.0, 4.0])
    right_nk = logits_nec.argmax(-1)[:, :2] == labels_n[:, None]
    stop_nk = right_nk * 2.0 - 1.0 + 0.3 * torch.randn(200, 2, generator=generator)
    return [
        ExitTable.from_logits(
            logits_nec, labels_n, ["confidence"], COSTS, stop_logits_nk=stop_nk, temperatures=temperatures
        )
        for temperatures in ((), (0.7,) * 3)
    ]


def found(table, *stop_thresholds):
    spec = PolicySpec.model_validate({"criterion": ["dual"], "stop_thresholds": stop_thresholds})
    return find(table, spec, OptimiseSpec(per_exit=10))


def test_policies_found_score_on_their_table_as_stated(tables):
    for table in tables:
        points = found(table, 0.0, 0.5).points
        for point in points:
            assert point.policy.temperatures == table.temperatures
            figures = score_policy(table, point.policy)
            assert figures.accuracy == pytest.approx(point.accuracy) and figures.avg_macs == pytest.approx(point.cost)
        assert any(point.policy.find(StopHeads) == StopHeads((0.5,) * 2) for point in points)


def test_informative_stop_heads_improve_on_confidence(tables):
    confidence, both = found(tables[0], 0.0), found(tables[0], 0.0, 0.5)
    assert both.best_for(0.5).accuracy - 0.5 * both.best_for(0.5).cost / both.full_cost > (
        confidence.best_for(0.5).accuracy - 0.5 * confidence.best_for(0.5).cost / confidence.full_cost
    )


def test_a_table_without_stop_heads_is_refused(tables):
    bare = ExitTable(tables[0].scores, tables[0].correct_ne, COSTS)
    with pytest.raises(ValueError, match="requires stop heads"):
        dual_scores(bare, 0.5)
    assert np.isfinite(dual_scores(tables[0], 0.5).scores_nk).all()
