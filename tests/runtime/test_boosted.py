"""Boosted networks: every exit adds half of the previous exit's logits to its own (FORMULAS 5)."""

from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aebnas.runtime.exit_criteria import CRITERIA
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import Patience
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.network import Network
from aebnas.space.lowering import lower
from aebnas.space.stop_heads import with_stop_heads

CLOSE = 1e-5
SPACES = ("boosted_or_not", "boosted", "boosted_dag", "boosted_dag_without_zero")


def head(name, at):
    return Node.make(name, "classifier", (at,), in_channels=1, classes=2)


def boost(name, own, earlier):
    return Node.make(name, "boost", (own, earlier))


POOL = Node.make("pool", "avgpool", (INPUT,), kernel=3, stride=1)
NODES = (
    head("one", INPUT),
    POOL,
    head("two", "pool"),
    boost("two_sum", "two", "one"),
    head("three", "pool"),
    boost("three_sum", "three", "two_sum"),
)
EXITS = (GraphExit(INPUT, "one"), GraphExit("pool", "two_sum"), GraphExit("pool", "three_sum"))


def by_hand():
    """Three exits on an image of one pixel value, with classifiers that can be worked out by hand."""
    network = Network(Graph((1, 4, 4), NODES, EXITS)).eval()
    with torch.no_grad():
        for name, weight, bias in (
            ("one", [4.0, 0.0], [0.0, 1.0]),
            ("two", [0.0, 2.0], [1.0, 0.0]),
            ("three", [1.0, 1.0], [0.0, 0.5]),
        ):
            network.nodes[name].linear.weight.copy_(torch.tensor(weight)[:, None])
            network.nodes[name].linear.bias.copy_(torch.tensor(bias))
    return network


def constant(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 4, 4).clone()


def test_logits_are_those_worked_out_by_hand():
    """z_1 = f_1, z_2 = f_2 + z_1 / 2, z_3 = f_3 + z_2 / 2, for images that are 1 and -2 everywhere."""
    logits = by_hand()(constant(1.0, -2.0))
    assert logits[0].tolist() == [[4.0, 1.0], [-8.0, 1.0]]
    assert logits[1].tolist() == [[1.0 + 2.0, 2.0 + 0.5], [1.0 - 4.0, -4.0 + 0.5]]
    assert logits[2].tolist() == [[1.0 + 1.5, 1.5 + 1.25], [-2.0 - 1.5, -1.5 - 1.75]]


def test_the_loss_at_an_exit_trains_its_own_branch_only():
    network = by_hand().train()
    network(constant(1.0))[2].sum().backward()
    trained = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None}
    assert trained == {"three"}


def test_a_temperature_divides_the_sum():
    """The first exit's temperature doesn't reach the second exit's score."""
    network, x = by_hand(), constant(1.0)
    score = CRITERIA["confidence"](torch.tensor([[3.0, 2.5]]) / 4).item()
    for threshold, taken in ((score - 1e-3, 1), (score + 1e-3, 2)):
        policy = ExitPolicy("confidence", (None, threshold), temperatures=(9.0, 4.0, 1.0))
        assert network.infer(x, policy).exit_index.tolist() == [taken]


def test_segments_keep_branches_apart_and_the_schedule_runs_them_always():
    graph = with_stop_heads(Graph((1, 4, 4), NODES, EXITS))
    assert graph.boosted
    names = [tuple(tuple(node.name for node in nodes) for nodes in segment) for segment in graph.segments()]
    assert names == [
        ((), ("one", "one_stop")),
        (("pool",), ("two", "two_sum", "two_sum_stop")),
        ((), ("three", "three_sum")),
    ]
    steps = [tuple(tuple(node.name for node in nodes) for nodes in step) for step in graph.schedule()]
    assert steps == [
        (("one",), ("one_stop",)),
        (("pool", "two", "two_sum"), ("two_sum_stop",)),
        (("three", "three_sum"), ()),
    ]
    assert graph.summed_nodes() == {"one", "two", "two_sum", "three_sum"}
    assert Graph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize(
    "nodes, exits, problem",
    [
        # the last exit doesn't add the second one's logits
        (NODES[:-1], (*EXITS[:2], GraphExit("pool", "three")), r"or none, but got those of \['one', 'no exit'\]"),
        # it skips the second one
        (
            (*NODES[:-1], boost("three_sum", "three", "one")),
            EXITS,
            r"every exit after the first must add the logits of the exit before it, .* of \['one', 'one'\]",
        ),
        # it adds the second one's logits before they are summed
        ((*NODES[:-1], boost("three_sum", "three", "two")), EXITS, r"but got those of \['one', 'two'\]"),
        ((*NODES[:3], Node.make("two_sum", "boost", ("two",)), *NODES[4:]), EXITS, "of two exits, but got 1"),
        (
            (*NODES[:3], boost("two_sum", "two", "pool"), *NODES[4:]),
            EXITS,
            r"node 'two_sum': inputs must be of one shape, but got \[\(2, 1, 1\), \(1, 4, 4\)\]",
        ),
        # a layer of the backbone reads an exit's logits
        (
            (
                head("one", INPUT),
                Node.make("next", "maxpool", ("one",), kernel=1, stride=1),
                Node.make("own", "classifier", ("next",), in_channels=2, classes=2),
                boost("sum", "own", "one"),
            ),
            (GraphExit(INPUT, "one"), GraphExit("next", "sum")),
            r"nodes of a branch must belong only to it, but \['one'\] are used elsewhere",
        ),
    ],
)
def test_invalid_links_between_branches_are_refused(nodes, exits, problem):
    with pytest.raises(ValueError, match=problem):
        Graph((1, 4, 4), nodes, exits)


@pytest.fixture(scope="module", params=SPACES)
def drawn(request, make_small, architectures, random_network):
    """Random boosted networks of a space with at least one early exit, those with most exits first."""
    found = [a for a in architectures(make_small(request.param), 60, seed=3) if a.boosted]
    several = sorted(dict.fromkeys(found), key=lambda a: -len(a.exits))[:8]
    return [(architecture, random_network(architecture, number)) for number, architecture in enumerate(several)]


def plain_logits(network, x):
    """The formula, from the outputs of the branches' own classifiers."""
    values = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: values.update({name: out}))
        for name, module in network.nodes.items()
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    by_name = {node.name: node for node in network.graph.nodes}
    z = []
    for graph_exit in network.graph.exits:
        node = by_name[graph_exit.output]
        own = values[node.inputs[0]] if node.op == "boost" else values[node.name]
        z.append(own + 0.5 * z[-1] if z else own)
    return z


def test_lowered_networks_follow_the_formula(drawn, pixels):
    for architecture, network in drawn:
        assert network.graph.boosted and len(network.graph.exits) == len(architecture.exits) + 1
        x = pixels(architecture, 3)
        for got, want in zip(network(x), plain_logits(network, x), strict=True):
            assert torch.equal(got, want)


@settings(deadline=None, max_examples=25)
@given(
    number=st.integers(0, 7),
    samples=st.integers(1, 12),
    criterion=st.sampled_from(sorted(CRITERIA)),
    thresholds=st.lists(st.none() | st.floats(0, 1), min_size=4, max_size=4),
    temperatures=st.lists(st.floats(0.5, 3), min_size=5, max_size=5) | st.none(),
    patience=st.none() | st.integers(2, 3),
)
def test_hard_exits_with_compaction_agree_with_decisions_one_by_one(
    drawn, pixels, number, samples, criterion, thresholds, temperatures, patience
):
    architecture, network = drawn[number % len(drawn)]
    x, exits = pixels(architecture, samples, seed=number), len(network.graph.exits)
    scales = tuple(temperatures[:exits]) if temperatures else ()
    rules = () if patience is None else (Patience(patience),)
    policy = ExitPolicy(criterion, tuple(thresholds[: exits - 1]), scales, rules)
    with torch.no_grad():
        z = plain_logits(network, x)
    want_exits = []
    for sample in range(samples):
        agreed, last_class = 0, None
        for index in range(exits):
            threshold = policy.thresholds[index] if index < exits - 1 else -1.0
            if threshold is None:
                continue
            scaled = z[index][sample : sample + 1] / (scales[index] if scales else 1.0)
            score = CRITERIA[criterion](scaled).item()
            assume(index == exits - 1 or abs(score - threshold) > CLOSE)
            chosen = int(z[index][sample].argmax())
            agreed, last_class = (agreed + 1, chosen) if chosen == last_class else (1, chosen)
            if index == exits - 1 or (score > threshold and (patience is None or agreed >= patience)):
                want_exits.append(index)
                break
    predicted = network.infer(x, policy)
    assert predicted.exit_index.tolist() == want_exits
    want = torch.stack([z[index][sample] for sample, index in enumerate(want_exits)])
    assert (predicted.logits - want).abs().max() <= CLOSE


def test_branches_of_never_exits_run_but_not_their_stop_heads(drawn, pixels):
    for architecture, network in drawn:
        graph = with_stop_heads(network.graph)
        headed = Network(graph).eval()
        ran = Counter()
        for name, module in headed.nodes.items():
            module.register_forward_pre_hook(lambda _, __, name=name, ran=ran: ran.update([name]))
        headed.infer(pixels(architecture, 1), ExitPolicy("margin", (None,) * len(architecture.exits)))
        stops = {graph_exit.stop for graph_exit in graph.exits}
        assert ran == {node.name: 1 for node in graph.nodes if node.name not in stops}


def test_with_all_exits_never_the_last_gives_the_sum(drawn, pixels):
    architecture, network = drawn[0]
    x = pixels(architecture, 5)
    predicted = network.infer(x, ExitPolicy("margin", (None,) * len(architecture.exits)))
    assert torch.equal(predicted.logits, plain_logits(network, x)[-1])
    assert not torch.allclose(predicted.logits, without_sums(network)(x)[-1], atol=1e-2)


def without_sums(network):
    """The same weights in the network that isn't boosted."""
    graph = network.graph
    own = {node.name: node.inputs[0] for node in graph.nodes if node.op == "boost"}
    exits = tuple(GraphExit(e.site, own.get(e.output, e.output)) for e in graph.exits)
    plain = Network(Graph(graph.input_shape, tuple(n for n in graph.nodes if n.name not in own), exits))
    plain.load_state_dict(network.state_dict())
    return plain.eval()


def test_the_sum_needs_no_weights(make_small):
    space = make_small("boosted_or_not")
    boosted = space.extreme(largest=True)
    plain = type(boosted)(**{name: getattr(boosted, name) for name in type(boosted).model_fields} | {"boosted": False})
    assert boosted.boosted
    assert Network(lower(boosted)).state_dict().keys() == Network(lower(plain)).state_dict().keys()
