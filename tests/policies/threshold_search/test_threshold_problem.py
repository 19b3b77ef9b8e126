"""Evaluation of many threshold vectors together against separate evaluation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import lifelike, per_sample, plainly, random_table

from aebnas.cost.exit_costs import ExitCosts, SampleCosts
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search import reach as reach_module
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

# 4 samples, 3 exits
SCORES = np.array([[0.9, 0.1], [0.5, 0.8], [0.2, 0.6], [0.1, 0.2]], np.float32)
CORRECT = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]], bool)
COSTS = ExitCosts(backbone_e=(10, 30, 60), branch_e=(1, 2, 4))
HAND = ThresholdProblem(SCORES, CORRECT, COSTS, lambda thresholds: ExitPolicy("margin", thresholds))


def vectors(scored, rng, count):
    """Vectors of observed scores, the bounds, never, and random values."""
    shape = (count, scored.early)
    drawn = rng.choice(np.append(scored.scores_nk.reshape(-1), [0, 1]), shape)
    drawn = np.where(rng.random(shape) < 0.4, rng.random(shape), drawn)
    return np.where(rng.random(shape) < 0.2, np.inf, drawn).astype(np.float32)


def test_vectors_by_hand():
    thresholds = np.array([[0.5, 0.3], [np.inf, 0.3], [1, 1], [np.inf, np.inf], [0, np.inf]], np.float32)
    found = HAND.evaluate(thresholds)
    assert found.right_t.tolist() == [3, 2, 3, 3, 2]
    assert found.exit_counts_te.tolist() == [[1, 2, 1], [0, 2, 2], [0, 0, 4], [0, 0, 4], [4, 0, 0]]
    assert found.cost_t.tolist() == [(11 + 33 + 33 + 67) / 4, (66 + 32 + 32 + 66) / 4, 67, 64, 11]
    assert found.cost_taken_only_t.tolist() == [(11 + 32 + 32 + 64) / 4, (64 + 32 + 32 + 64) / 4, 64, 64, 11]
    assert HAND.full_cost == 67


@settings(deadline=None, max_examples=80)
@given(
    samples=st.integers(1, 150),
    exits=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    criterion=st.sampled_from(["margin", "entropy"]),
    block=st.sampled_from([1, 63, 64, 100, 4096]),
    chunk=st.sampled_from([1, 7, 1024]),
)
def test_many_vectors_equal_a_plain_loop_in_blocks_of_any_size(samples, exits, seed, criterion, block, chunk):
    scored = ThresholdProblem.of(random_table(samples, exits, seed), criterion)
    thresholds = vectors(scored, np.random.default_rng(seed), 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach_module, "BLOCK_SAMPLES", block)
        patch.setattr(reach_module, "CHUNK_VECTORS", chunk)
        found = scored.evaluate(thresholds)
    expected = [plainly(scored, row) for row in thresholds]
    assert found.right_t.tolist() == [right for right, *_ in expected]
    assert found.exit_counts_te.tolist() == [counts for _, counts, *_ in expected]
    assert found.cost_t.tolist() == [charged / samples for *_, charged, _ in expected]
    assert found.cost_taken_only_t.tolist() == [taken / samples for *_, taken in expected]


@settings(deadline=None, max_examples=40)
@given(samples=st.integers(1, 150), exits=st.integers(1, 4), seed=st.integers(0, 2**31), chunk=st.sampled_from([1, 64]))
def test_costs_may_differ_from_sample_to_sample(samples, exits, seed, chunk):
    scored = per_sample(ThresholdProblem.of(random_table(samples, exits, seed), "entropy"), seed)
    thresholds = vectors(scored, np.random.default_rng(seed), 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach_module, "BLOCK_SAMPLES", 70)
        patch.setattr(reach_module, "CHUNK_WEIGHTED", chunk)
        found = scored.evaluate(thresholds)
    for row, (right, counts, charged, taken_only) in enumerate(map(plainly, [scored] * 8, thresholds)):
        assert found.right_t[row] == right and found.exit_counts_te[row].tolist() == counts
        assert found.cost_t[row] == pytest.approx(charged / samples, rel=1e-12)
        assert found.cost_taken_only_t[row] == pytest.approx(taken_only / samples, rel=1e-12)


def test_more_samples_than_a_block_holds():
    scored = lifelike(9000, 4, seed=0)
    thresholds = vectors(scored, np.random.default_rng(0), 40)
    found = scored.evaluate(thresholds)
    for row, vector in enumerate(thresholds):
        stops = np.ones((9000, 4), bool)
        stops[:, :3] = scored.scores_nk > vector
        taken = stops.argmax(1)
        assert found.exit_counts_te[row].tolist() == np.bincount(taken, minlength=4).tolist()
        assert found.right_t[row] == scored.correct_ne[np.arange(9000), taken].sum()


@settings(deadline=None, max_examples=30)
@given(samples=st.integers(1, 60), exits=st.integers(1, 4), seed=st.integers(0, 2**31), costs_per_sample=st.booleans())
def test_policies_scored_separately_have_the_same_figures(samples, exits, seed, costs_per_sample):
    table = random_table(samples, exits, seed)
    if costs_per_sample:
        scored = per_sample(ThresholdProblem.of(table, "margin"), seed)
        table = type(table)(table.scores, table.correct_ne, {"macs": scored.costs})
    scored = ThresholdProblem.of(table, "margin")
    thresholds = vectors(scored, np.random.default_rng(seed), 6)
    found = scored.evaluate(thresholds)
    for row, vector in enumerate(thresholds):
        score = score_policy(table, scored.policy(vector))
        assert score.accuracy == found.accuracy_t[row]
        assert score.avg_macs == pytest.approx(found.cost_t[row], rel=1e-12)
        assert score.avg_macs_taken_only == pytest.approx(found.cost_taken_only_t[row], rel=1e-12)
        assert np.allclose(score.exit_shares, found.exit_counts_te[row] / samples)


def test_policies_have_the_temperatures_of_their_table():
    logits = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0))
    costs = {"macs": ExitCosts((1, 2, 3), (1, 1, 1))}
    labels = torch.zeros(50, dtype=torch.int64)
    table = ExitTable.from_logits(logits, labels, ["confidence"], costs, temperatures=(2.0, 1.5, 1.0))
    scored = ThresholdProblem.of(table, "confidence")
    vector = np.median(scored.scores_nk, axis=0)
    found, score = scored.evaluate(vector[None]), score_policy(table, scored.policy(vector))
    assert (score.accuracy, score.avg_macs) == (found.accuracy_t[0], found.cost_t[0])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    exits=st.integers(2, 5),
    at=st.integers(0, 3),
    low=st.floats(0, 1, width=32),
    raised=st.floats(0, 1, width=32) | st.just(np.inf),
)
def test_raising_one_threshold_never_makes_samples_leave_earlier(seed, exits, at, low, raised):
    scored, at = lifelike(60, exits, seed), at % (exits - 1)
    vector = vectors(scored, np.random.default_rng(seed), 1)
    pair = np.repeat(vector, 2, axis=0)
    pair[:, at] = min(low, raised), max(low, raised)
    found = scored.evaluate(pair)
    # no more samples leave at that exit, no fewer pass any exit, and exits before it are not affected
    assert found.exit_counts_te[1, at] <= found.exit_counts_te[0, at]
    beyond = scored.samples - np.cumsum(found.exit_counts_te, axis=1)
    assert (beyond[1] >= beyond[0]).all()
    assert found.exit_counts_te[1, :at].tolist() == found.exit_counts_te[0, :at].tolist()
    if np.isfinite(raised) or np.isinf(pair[0, at]):  # a branch that no longer runs may save its cost
        assert found.cost_t[1] >= found.cost_t[0] and found.cost_taken_only_t[1] >= found.cost_taken_only_t[0] - 1e-9


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), exits=st.integers(1, 6))
def test_with_all_exits_never_it_is_the_full_network_without_branches(seed, exits):
    scored = lifelike(50, exits, seed)
    found = scored.evaluate(np.full((1, exits - 1), np.inf, np.float32))
    assert found.right_t[0] == scored.correct_ne[:, -1].sum()
    assert found.cost_t[0] == found.cost_taken_only_t[0] == scored.costs.backbone_e[-1] + scored.costs.branch_e[-1]


def test_no_vectors_give_no_figures():
    found = HAND.evaluate(np.zeros((0, 2), np.float32))
    assert found.cost_t.shape == (0,) and found.exit_counts_te.shape == (0, 3)


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"scores_nk": SCORES[:, :1]}, r"scores must be \(4, 2\), but got \(4, 1\)"),
        ({"scores_nk": SCORES.astype(float)}, "scores must be float32, but got float64"),
        ({"scores_nk": np.full_like(SCORES, np.nan)}, "scores must be finite"),
        ({"costs": ExitCosts((1, 2), (1, 1))}, "costs must be of 3 exits and 4 samples"),
        ({"costs": SampleCosts(np.ones((5, 3)), np.ones((5, 3)))}, "costs must be of 3 exits and 4 samples"),
    ],
)
def test_invalid_scores_and_costs_are_refused(change, problem):
    fields = {"scores_nk": SCORES, "correct_ne": CORRECT, "costs": COSTS, "make": HAND.make} | change
    with pytest.raises(ValueError, match=problem):
        ThresholdProblem(**fields)


@pytest.mark.parametrize("shape", [(3, 1), (3, 3), (2,)])
def test_vectors_for_another_number_of_exits_are_refused(shape):
    with pytest.raises(ValueError, match="thresholds must be for 2 exits, but got shape"):
        HAND.evaluate(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "backbone, branch", [(np.ones((2, 3)), np.ones((2, 2))), (np.ones(3), np.ones(3)), (-np.ones((2, 3)),) * 2]
)
def test_invalid_costs_of_samples_are_refused(backbone, branch):
    with pytest.raises(ValueError, match=r"must be of one shape|must be finite and at least 0"):
        SampleCosts(backbone, branch)


@settings(deadline=None, max_examples=60)
@given(
    samples=st.integers(1, 150),
    exits=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    block=st.sampled_from([1, 64, 100, 4096]),
    differ=st.booleans(),
)
def test_weights_count_in_the_accuracy_and_not_in_the_costs(samples, exits, seed, block, differ):
    plain = ThresholdProblem.of(random_table(samples, exits, seed), "margin")
    plain = per_sample(plain, seed) if differ else plain
    rng = np.random.default_rng(seed)
    weighted = replace(plain, weight_n=rng.choice([0.25, 1.0, 3.0], samples))
    thresholds = vectors(plain, rng, 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach_module, "BLOCK_SAMPLES", block)
        found, expected = weighted.evaluate(thresholds), plain.evaluate(thresholds)
    single = [plain.rows(np.array([sample])).evaluate(thresholds).right_t for sample in range(samples)]
    assert found.right_t == pytest.approx(weighted.weight_n @ np.array(single))
    assert found.accuracy_t == pytest.approx(np.average(single, axis=0, weights=weighted.weight_n))
    assert (found.exit_counts_te == expected.exit_counts_te).all()
    assert found.cost_t == pytest.approx(expected.cost_t)


def test_weights_are_one_per_sample():
    with pytest.raises(ValueError, match=r"weights must be \(4,\), but got \(3,\)"):
        replace(HAND, weight_n=np.ones(3))
