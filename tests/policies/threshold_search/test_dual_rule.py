"""The dual rule found on a table: what is promised there, the policies keep."""

import numpy as np
import pytest
import torch

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.exit_table.exit_table import ExitTable, score_policy
from aebnas.policies.threshold_search.dual_rule import dual_frontier, dual_scores

COSTS = {"macs": ExitCosts((30, 60, 100), (2, 3, 4))}


@pytest.fixture
def tables():
    """One network's tables at two temperatures; stop heads know when an exit is right."""
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


def test_policies_found_do_on_their_table_as_promised(tables):
    found = dual_frontier(tables, per_exit=5, stop_thresholds=(0.0, 0.5))
    for point in found.points:
        table = tables[1] if point.policy.temperatures else tables[0]
        figures = score_policy(table, point.policy)
        assert figures.accuracy == pytest.approx(point.accuracy) and figures.avg_macs == pytest.approx(point.cost)
    assert any(set(point.policy.stop_thresholds) == {0.5} for point in found.points)


def test_stop_heads_that_know_beat_confidence_alone(tables):
    alone = dual_frontier(tables[:1], 10, stop_thresholds=(0.0,))
    both = dual_frontier(tables[:1], 10, stop_thresholds=(0.0, 0.5))
    assert both.best_for(0.5).accuracy - 0.5 * both.best_for(0.5).cost / both.full_cost > (
        alone.best_for(0.5).accuracy - 0.5 * alone.best_for(0.5).cost / alone.full_cost
    )


def test_a_table_without_stop_heads_is_refused(tables):
    bare = ExitTable(tables[0].scores, tables[0].correct_ne, COSTS)
    with pytest.raises(ValueError, match="needs stop heads"):
        dual_scores(bare, 0.5)
    assert np.isfinite(dual_scores(tables[0], 0.5).scores_nk).all()
