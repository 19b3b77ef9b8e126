"""ExitTable and policy scores against loops, numbers worked out by hand and running networks."""

import numpy as np
import pytest
import torch
from hand_table import CORRECT, COSTS, SCORES
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.cost.counts import count_graph
from aebnas.cost.exit_costs import ExitCosts, SampleCosts
from aebnas.policies.exit_table import exit_table as table_module
from aebnas.policies.exit_table.exit_table import ExitTable, thresholds_te
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.joint_grid import candidate_thresholds
from aebnas.runtime.exit_criteria import CRITERIA
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.lowering import lower


def random_table(samples, exits, seed):
    rng = np.random.default_rng(seed)
    scores = {
        "margin": rng.random((samples, exits), np.float32),
        # few distinct scores, as a saturated softmax gives
        "entropy": (rng.integers(0, 4, (samples, exits)) / 3).astype(np.float32),
    }
    costs = ExitCosts(tuple(np.cumsum(rng.integers(1, 99, exits)).tolist()), tuple(rng.integers(1, 50, exits).tolist()))
    return ExitTable(scores, rng.random((samples, exits)) < 0.6, {"macs": costs})


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 30),
    st.integers(1, 4),
    st.integers(0, 1000),
    st.sampled_from(["margin", "entropy"]),
    st.lists(
        st.lists(st.none() | st.sampled_from([0.0, 1 / 3, 1.0]) | st.floats(0, 1), min_size=3, max_size=3),
        min_size=1,
    ),
    st.sampled_from([1, 50, 20_000_000]),
)
def test_exits_taken_equal_a_plain_loop_in_chunks_of_any_size(samples, exits, seed, criterion, rows, chunk):
    table = random_table(samples, exits, seed)
    policies = [ExitPolicy(criterion, tuple(row[: exits - 1])) for row in rows]
    expected = []
    for policy in policies:
        for sample in range(samples):
            for index in range(exits):
                threshold = None if index == exits - 1 else policy.thresholds[index]
                above = threshold is not None and table.scores[criterion][sample, index] > np.float32(threshold)
                if index == exits - 1 or above:
                    expected.append(index)
                    break
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_module, "CHUNK_CELLS", chunk)
        taken_tn = table.exits_taken(criterion, thresholds_te(policies))
    assert taken_tn.reshape(-1).tolist() == expected
    assert np.array_equal(table.exit_taken(policies[0]), taken_tn[0])


def test_decisions_equal_those_of_the_running_network(bundled, architectures, random_network, pixels):
    for seed, architecture in enumerate(architectures(bundled, 10, seed=2)):
        network, x = random_network(architecture, seed), pixels(architecture, 24, seed)
        with torch.no_grad():
            logits_nec = torch.stack(network(x), 1)
        labels = torch.arange(24) % bundled.spec.classes
        costs = {"macs": count_graph(lower(architecture)).macs}
        table = ExitTable.from_logits(logits_nec, labels, list(CRITERIA), costs)
        rng = np.random.default_rng(seed)
        for criterion in CRITERIA:
            grid = [candidate_thresholds(table.scores[criterion][:, e], 5) for e in range(table.exits - 1)]
            picked = [float(rng.choice(candidates)) for candidates in grid]
            policy = ExitPolicy(criterion, tuple(None if np.isinf(value) else value for value in picked))
            predicted = network.infer(x, policy)
            assert np.array_equal(table.exit_taken(policy), predicted.exit_index.numpy())
            accuracy = (predicted.logits.argmax(-1) == labels).float().mean().item()
            assert score_policy(table, policy).accuracy == pytest.approx(accuracy)


def test_a_threshold_is_compared_in_32_bits_as_in_the_network():
    score = np.float32(0.9)  # below 0.9, and equal to it once 0.9 is rounded
    table = ExitTable({"margin": np.full((1, 2), score)}, np.ones((1, 2), bool), {"macs": ExitCosts((1, 2), (1, 1))})
    assert table.exit_taken(ExitPolicy("margin", (0.9,))).tolist() == [1]
    for criterion in CRITERIA:
        above = torch.nextafter(torch.tensor(0.9), torch.tensor(1.0))
        for value, leaves in [(torch.tensor(0.9), False), (above, True)]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(CRITERIA, criterion, lambda logits_nc, value=value: value[None])
                policy, logits_nc = ExitPolicy(criterion, (0.9,)), torch.zeros(1, 2)
                assert policy.stops(0, policy.observe(0, logits_nc))[0].tolist() == [leaves]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_raise(value):
    logits_nec = torch.zeros(3, 2, 4)
    logits_nec[1, 0, 2] = value
    with pytest.raises(ValueError, match="logits must be finite"):
        ExitTable.from_logits(logits_nec, torch.zeros(3), ["margin"], {"macs": ExitCosts((1, 2), (1, 1))})


@pytest.mark.parametrize(
    "scores, costs, problem",
    [
        (SCORES[:3], COSTS, r"margin: scores must be \(4, 3\), but got \(3, 3\)"),
        (np.full_like(SCORES, np.nan), COSTS, "margin: scores must be finite"),
        (SCORES, ExitCosts((1, 2), (1, 1)), "macs: costs must be of 3 exits, but got 2"),
        (SCORES, SampleCosts(np.ones((5, 3)), np.ones((5, 3))), "macs: costs must be of 4 samples, but got 5"),
    ],
)
def test_a_table_refuses_invalid_scores_and_costs(scores, costs, problem):
    with pytest.raises(ValueError, match=problem):
        ExitTable({"margin": scores}, CORRECT, {"macs": costs})


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_policy_for_another_number_of_exits_is_refused(table, count):
    with pytest.raises(ValueError, match=f"thresholds must be for 2 exits, but got {count}"):
        table.exit_taken(ExitPolicy("margin", (0.5,) * count))


def test_half_precision_logits_are_scored_in_single_precision(table):
    logits_nec = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0)).half()
    built = ExitTable.from_logits(
        logits_nec, logits_nec[:, 0].argmax(-1), ["margin"], {"macs": ExitCosts((1, 2), (1, 1))}
    )
    assert built.scores["margin"].dtype == np.float32
    assert built.correct_ne[:, 0].all()
