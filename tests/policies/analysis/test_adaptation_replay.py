"""Replaying a stream: audits are charged, thresholds adapt, and without updates it equals the plain policy."""

import numpy as np
import pytest

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.analysis.adaptation_replay import replay
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import sample_costs
from aebnas.runtime.adaptation import AdaptivePolicy
from aebnas.runtime.exit_policy import ExitPolicy

COSTS = ExitCosts((40, 100), (2, 3))
BASE = ExitPolicy("confidence", (0.5,))


def table_of(early_right, samples=400, seed=0):
    """Two classes; the last exit is always right, the early one in a share of cases, independent of its confidence."""
    rng = np.random.default_rng(seed)
    labels_n = rng.integers(0, 2, samples)
    wrong_n = rng.random(samples) >= early_right
    predicted_ne = np.stack([labels_n ^ wrong_n, labels_n], 1).astype(np.int32)
    scores_ne = rng.uniform(0.3, 1.0, (samples, 2)).astype(np.float32)
    return ExitTable(
        {"confidence": scores_ne},
        predicted_ne == labels_n[:, None],
        {"macs": COSTS},
        labels_n.astype(np.int32),
        predicted_ne,
    )


def test_without_labels_a_replay_equals_the_plain_policy():
    table = table_of(0.6)
    done = replay(table, AdaptivePolicy(BASE, 2, audit_share=0.0), np.arange(400))
    assert done.exit_n.tolist() == table.exit_taken(BASE).tolist()
    assert done.cost_n.tolist() == sample_costs(table, BASE).tolist()
    assert done.right_n.tolist() == table.correct_ne[np.arange(400), done.exit_n].tolist()
    assert done.seen_u.tolist() == [100, 200, 300, 400]
    assert (done.coefficients_uek == 1).all() and done.coefficients_uek.shape == (4, 1, 2)


def test_audits_are_charged_with_a_run_to_the_last_exit():
    table = table_of(0.6)
    policy = AdaptivePolicy(BASE, 2, audit_share=0.1, eta=0.0, decay=1.0)
    done = replay(table, policy, np.arange(400))
    assert done.audited_n.sum() == pytest.approx(40, abs=2)
    extra_n = done.cost_n - sample_costs(table, BASE)
    assert extra_n.tolist() == np.where(done.audited_n, 100 + 3, 0).tolist()


def test_thresholds_rise_where_the_early_exit_is_below_the_target_and_fall_where_it_is_above():
    stream_n = np.tile(np.arange(400), 20)
    poor, good = (replay(table_of(share), AdaptivePolicy(BASE, 2, audit_share=0.1), stream_n) for share in (0.5, 1.0))
    assert poor.coefficients_uek[-1].min() > 1.2 and good.coefficients_uek[-1].max() < 0.9
    assert poor.exit_n[-400:].mean() > poor.exit_n[:400].mean()
    assert poor.right_n[-400:].mean() > poor.right_n[:400].mean()
    assert good.cost_n[-400:].mean() < good.cost_n[:400].mean()


def test_with_feedback_every_sample_has_a_label():
    table = table_of(0.5)
    policy = AdaptivePolicy(BASE, 2, audit_share=0.0)
    done = replay(table, policy, np.arange(400), feedback=True)
    assert done.coefficients_uek[-1].min() > 1.0
    assert int((done.state.cells.right_cw >= 0).sum()) == 400
    bare = ExitTable(table.scores, table.correct_ne, table.costs, predicted_ne=table.predicted_ne)
    with pytest.raises(ValueError, match="requires labels in the table"):
        replay(bare, policy, np.arange(4), feedback=True)


def test_ucb1_selects_the_better_set_of_coefficients():
    """With an early exit that is nearly always right, a lower threshold saves cost without losing accuracy."""
    table = table_of(0.99)
    arms = (((2.0,),), ((0.6,),))
    policy = AdaptivePolicy(BASE, 2, audit_share=0.2, arms=arms, beta_opt=1.0, eta=0.0, decay=1.0)
    done = replay(table, policy, np.tile(np.arange(400), 15))
    assert set(done.arm_u.tolist()) == {0, 1}
    assert done.state.pulls_a[1] > done.state.pulls_a[0]


def test_an_empty_stream_gives_empty_results():
    done = replay(table_of(0.6, 4), AdaptivePolicy(BASE, 2), np.arange(0))
    assert len(done.exit_n) == len(done.cost_n) == len(done.seen_u) == 0
