"""ExitTable and policy scores against loops, hand-worked numbers and running networks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.cost.counts import count_graph
from aebnas.cost.exit_costs import ExitCosts, SampleCosts
from aebnas.policies.exit_table import exit_table as table_module
from aebnas.policies.exit_table.exit_table import ExitTable, score_policy, thresholds_te
from aebnas.policies.threshold_search.joint_grid import candidate_thresholds
from aebnas.runtime.exit_criteria import CRITERIA
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.space.lowering import lower

# 4 samples, 3 exits
SCORES = np.array([[0.9, 0.1, 0.0], [0.5, 0.8, 0.0], [0.2, 0.6, 0.0], [0.1, 0.2, 0.0]], np.float32)
CORRECT = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]], bool)
COSTS = ExitCosts(backbone_e=(10, 30, 60), branch_e=(1, 2, 4))


@pytest.fixture
def table():
    return ExitTable({"margin": SCORES}, CORRECT, {"macs": COSTS})


def random_table(samples, exits, seed):
    rng = np.random.default_rng(seed)
    scores = {
        "margin": rng.random((samples, exits), np.float32),
        # few distinct scores, as a saturated softmax gives
        "entropy": (rng.integers(0, 4, (samples, exits)) / 3).astype(np.float32),
    }
    costs = ExitCosts(tuple(np.cumsum(rng.integers(1, 99, exits)).tolist()), tuple(rng.integers(1, 50, exits).tolist()))
    return ExitTable(scores, rng.random((samples, exits)) < 0.6, {"macs": costs})


def test_hand_worked_score(table):
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
    # sample 0 goes past exit 2 (score 0.1) and is wrong at the last
    assert table.exit_taken(ExitPolicy("margin", (None, 0.3))).tolist() == [2, 1, 1, 2]
    assert score.accuracy == 0.5
    assert score.avg_macs == (66 + 32 + 32 + 66) / 4
    assert score.avg_macs_taken_only == (64 + 32 + 32 + 64) / 4
    assert score.exit_shares == (0.0, 0.5, 0.5)
    assert score.exit_accuracy == (None, 0.5, 0.5)


def test_an_exit_nobody_takes_is_charged_unless_never(table):
    closed, never = (score_policy(table, ExitPolicy("margin", (value,) * 2)) for value in (1.0, None))
    assert (closed.accuracy, never.accuracy) == (0.75, 0.75)
    assert (closed.avg_macs, never.avg_macs) == (67.0, 64.0)
    assert closed.avg_macs_taken_only == never.avg_macs_taken_only == 64.0


def test_one_exit_alone():
    table = ExitTable({"margin": SCORES[:, :1]}, CORRECT[:, :1], {"macs": ExitCosts((10,), (1,))})
    score = score_policy(table, ExitPolicy("margin", ()))
    assert (score.accuracy, score.avg_macs, score.exit_shares) == (0.5, 11.0, (1.0,))


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
            answer = network.infer(x, policy)
            assert np.array_equal(table.exit_taken(policy), answer.exit_index.numpy())
            accuracy = (answer.logits.argmax(-1) == labels).float().mean().item()
            assert score_policy(table, policy).accuracy == pytest.approx(accuracy)


def test_average_macs_equal_what_the_running_network_spends(digits, architectures, random_network, pixels):
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
def test_a_table_refuses_what_does_not_fit(scores, costs, problem):
    with pytest.raises(ValueError, match=problem):
        ExitTable({"margin": scores}, CORRECT, {"macs": costs})


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_policy_for_another_number_of_exits_is_refused(table, count):
    with pytest.raises(ValueError, match=f"thresholds must be for 2 exits, but got {count}"):
        table.exit_taken(ExitPolicy("margin", (0.5,) * count))


def test_half_precision_logits_are_scored_in_single(table):
    logits_nec = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0)).half()
    built = ExitTable.from_logits(
        logits_nec, logits_nec[:, 0].argmax(-1), ["margin"], {"macs": ExitCosts((1, 2), (1, 1))}
    )
    assert built.scores["margin"].dtype == np.float32
    assert built.correct_ne[:, 0].all()
