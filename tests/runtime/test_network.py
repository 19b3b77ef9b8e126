"""Networks from Graphs: hard exits that skip computation and decide as thresholds on the logits of `forward`."""

from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from aebnas.runtime.exit_criteria import CRITERIA
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPAQUE

CLOSE = 1e-5


def record_calls(network):
    """Batch sizes of each node's inputs, by node name; filled as the network runs."""
    seen = {}
    for name, module in network.nodes.items():
        hook = lambda _, inputs, name=name: seen.setdefault(name, []).append(len(inputs[0]))  # noqa: E731
        module.register_forward_pre_hook(hook)
    return seen


def names(nodes):
    return [node.name for node in nodes]


@pytest.fixture(scope="module")
def three_exits(digits, architectures):
    """An architecture with both early exits, each with a branch of some layers."""
    return next(a for a in architectures(digits, 200) if len(a.exits) == 2 and all(len(e.layers) for e in a.exits))


@pytest.mark.parametrize("leaves_at", [0, 1, 2])
def test_at_batch_1_nothing_after_the_exit_runs(three_exits, random_network, pixels, leaves_at):
    network = random_network(three_exits)
    seen = record_calls(network)
    policy = ExitPolicy("confidence", tuple(0.0 if index == leaves_at else 1.0 for index in range(2)))
    predicted = network.infer(pixels(three_exits, 1), policy)
    assert predicted.exit_index.tolist() == [leaves_at]
    segments = network.graph.segments()
    expected = [n for segment in segments[: leaves_at + 1] for part in segment for n in names(part)]
    assert seen == {name: [1] for name in expected}


def test_branches_of_never_exits_do_not_run(three_exits, random_network, pixels):
    network = random_network(three_exits)
    seen = record_calls(network)
    network.infer(pixels(three_exits, 1), ExitPolicy("confidence", (None, None)))
    segments = network.graph.segments()
    backbone = [name for segment in segments for name in names(segment.backbone)]
    assert seen == {name: [1] for name in backbone + names(segments[-1].branch)}


def test_in_a_batch_later_segments_run_only_for_the_remaining_samples(three_exits, random_network, pixels):
    network = random_network(three_exits)
    x = pixels(three_exits, 32)
    middles = [confidence.median().item() for confidence in map(CRITERIA["confidence"], network(x))]
    seen = record_calls(network)
    predicted = network.infer(x, ExitPolicy("confidence", tuple(middles[:2])))
    left = Counter(predicted.exit_index.tolist())
    reached = [32, 32 - left[0], 32 - left[0] - left[1]]
    assert reached[0] > reached[1] > reached[2] > 0
    for segment, count in zip(network.graph.segments(), reached, strict=True):
        assert all(seen[name] == [count] for part in segment for name in names(part))


@settings(deadline=None, max_examples=20)  # in each of nine spaces
@given(
    number=st.integers(0, 29),
    seed=st.integers(0, 5),
    samples=st.integers(0, 20),
    criterion=st.sampled_from(sorted(CRITERIA)),
    thresholds=st.lists(st.none() | st.floats(0, 1), min_size=4, max_size=4),
)
def test_infer_agrees_with_thresholds_on_the_logits_of_forward(
    bundled, architectures, random_network, pixels, number, seed, samples, criterion, thresholds
):
    architecture = architectures(bundled, 30)[number]
    network, x = random_network(architecture, seed), pixels(architecture, samples, seed)
    policy = ExitPolicy(criterion, tuple(thresholds[: len(architecture.exits)]))
    with torch.no_grad():
        logits_e = network(x)
    expected_logits, expected_exits = [], []
    for sample in range(samples):
        for index, logits_nc in enumerate(logits_e):
            last = index == len(logits_e) - 1
            threshold = None if last else policy.thresholds[index]
            if threshold is not None:
                score = CRITERIA[criterion](logits_nc)[sample].item()
                assume(abs(score - threshold) > CLOSE)  # rounding decides there
            if last or (threshold is not None and score > threshold):
                expected_logits.append(logits_nc[sample])
                expected_exits.append(index)
                break
    predicted = network.infer(x, policy)
    assert predicted.exit_index.tolist() == expected_exits
    assert predicted.logits.shape == (samples, bundled.spec.classes)
    if samples:
        assert (predicted.logits - torch.stack(expected_logits)).abs().max() <= CLOSE


def test_with_all_exits_never_samples_leave_at_the_last_also_in_an_empty_batch(three_exits, random_network, pixels):
    network = random_network(three_exits)
    never = ExitPolicy("margin", (None, None))
    x = pixels(three_exits, 5)
    predicted = network.infer(x, never)
    assert predicted.exit_index.tolist() == [2] * 5
    assert torch.allclose(predicted.logits, network(x)[-1])
    empty = network.infer(x[:0], never)
    assert empty.logits.shape == (0, 10)
    assert empty.exit_index.shape == (0,)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_policy_for_another_number_of_exits_is_refused(three_exits, random_network, pixels, count):
    with pytest.raises(ValueError, match=f"must have 2 thresholds, but got {count}"):
        random_network(three_exits).infer(pixels(three_exits, 1), ExitPolicy("margin", (0.5,) * count))


def dag_network():
    """An `add` of conv and pool, an early exit, an opaque layer, and a late edge from the image."""
    nodes = (
        Node.make("left", "conv", (INPUT,), in_channels=3, out_channels=3, kernel=3, stride=1),
        Node.make("right", "avgpool", (INPUT,), kernel=3, stride=1),
        Node.make("meet", "add", ("left", "right")),
        Node.make("early", "classifier", ("meet",), in_channels=3, classes=4),
        Node.make("imported", OPAQUE, ("meet",), out_shape=(3, 8, 8), macs=0, params=0, norm_channels=0),
        Node.make("again", "add", ("imported", "left", INPUT)),
        Node.make("last", "classifier", ("again",), in_channels=3, classes=4),
    )
    graph = Graph((3, 8, 8), nodes, (GraphExit("meet", "early"), GraphExit("again", "last")))
    return graph, Network(graph, {"imported": nn.Conv2d(3, 3, 3, padding=1)})


def test_dag_cells_and_opaque_modules_run_with_compaction(randomise_module):
    _, network = dag_network()
    randomise_module(network).eval()
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    modules = network.nodes
    left = modules["left"](x)
    meet = left + nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    expected = [modules["early"](meet), modules["last"](modules["imported"](meet) + left + x)]
    for got, want in zip(network(x), expected, strict=True):
        assert torch.allclose(got, want, atol=CLOSE)
    threshold = CRITERIA["margin"](expected[0]).sort().values[7:9].mean().item()
    predicted = network.infer(x, ExitPolicy("margin", (threshold,)))
    assert Counter(predicted.exit_index.tolist()) == {0: 8, 1: 8}
    rows = range(16)
    assert torch.allclose(predicted.logits, torch.stack(expected)[predicted.exit_index, rows], atol=CLOSE)


def test_opaque_modules_must_be_passed():
    graph, _ = dag_network()
    with pytest.raises(ValueError, match=r"opaque modules must be \['imported'\], but got \[\]"):
        Network(graph)
    with pytest.raises(ValueError, match=r"but got \['imported', 'more'\]"):
        Network(graph, {"imported": nn.Identity(), "more": nn.Identity()})


def test_an_exit_may_use_the_output_of_an_earlier_segment(pixels):
    nodes = (
        Node.make("a", "conv", (INPUT,), in_channels=1, out_channels=2, kernel=1, stride=1),
        Node.make("head", "classifier", ("a",), in_channels=2, classes=2),
    )
    graph = Graph((1, 4, 4), nodes, (GraphExit("head", "head"), GraphExit("head", "head")))
    predicted = Network(graph).eval().infer(torch.rand(3, 1, 4, 4), ExitPolicy("margin", (1.0,)))
    assert predicted.exit_index.tolist() == [1, 1, 1]
