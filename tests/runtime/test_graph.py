"""The graphs that are valid, and their round trip through JSON."""

import json

import pytest

from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.ops import OPAQUE
from aebnas.space.lowering import lower

SHAPE = (3, 8, 8)


def conv(name, at, in_channels=3, out_channels=4, **attrs):
    attrs = {"kernel": 3, "stride": 1} | attrs
    return Node.make(name, "conv", (at,), in_channels=in_channels, out_channels=out_channels, **attrs)


def head(name, at, classes=5, in_channels=4):
    return Node.make(name, "classifier", (at,), in_channels=in_channels, classes=classes)


def dag():
    """Two edges into an `add`, an opaque module after it, and an exit between them."""
    nodes = (
        conv("left", INPUT),
        conv("right", INPUT, kernel=1),
        Node.make("meet", "add", ("left", "right")),
        head("early", "meet"),
        Node.make("imported", OPAQUE, ("meet",), out_shape=(4, 4, 4), macs=100, params=20, norm_channels=3),
        head("last", "imported"),
    )
    return Graph(SHAPE, nodes, (GraphExit("meet", "early"), GraphExit("imported", "last")))


A, B, HEAD = conv("a", INPUT), conv("b", "a", 4), head("head", "b")
EXIT = GraphExit("b", "head")


@pytest.mark.parametrize(
    "nodes, exits, problem",
    [
        ((A, A, HEAD), (EXIT,), "node 'a': the name must be unique"),
        ((conv(INPUT, INPUT),), (EXIT,), "node 'input': the name must be unique"),
        ((B, A, HEAD), (EXIT,), r"node 'b': inputs must come before it, but got \['a'\]"),
        (
            (A, conv("b", "nowhere"), HEAD),
            (EXIT,),
            r"node 'b': inputs must come before it, but got \['nowhere'\]",
        ),
        ((Node.make("a", "add", ()),), (EXIT,), "node 'a': inputs must come before it, but got none"),
        ((Node.make("a", "warp", (INPUT,)),), (EXIT,), "node 'a': op must be one of add, .*, but got 'warp'"),
        ((A, conv("b", "a", 5), HEAD), (EXIT,), "node 'b': built for 5 channels, but got 4"),
        ((A, conv("b", "a", 4, kernel=2), HEAD), (EXIT,), "node 'b': kernel must be odd"),
        (
            (A, B, Node.make("c", "add", ("b", INPUT)), HEAD),
            (EXIT,),
            "node 'c': inputs must be of one shape",
        ),
        (
            (A, Node.make("b", "maxpool", ("a", "a"), kernel=3, stride=1), HEAD),
            (EXIT,),
            "must have one input, but got 2",
        ),
        ((A, B, HEAD), (), "at least one exit"),
        ((A, B, HEAD), (GraphExit("b", "heads"),), "exit on 'heads': must name a node"),
        ((A, B, HEAD), (GraphExit("c", "head"),), "exit on 'c': must name a node"),
        (
            (A, B, HEAD, head("other", "b", classes=7)),
            (GraphExit("b", "other"), EXIT),
            "one shape",
        ),
        ((A, B, HEAD, conv("loose", "a", 4)), (EXIT,), r"every node must lead to an exit, but \['loose'\] don't"),
        # the second exit reads the layer in the first one's branch
        (
            (A, B, head("early", "b"), HEAD),
            (GraphExit("a", "early"), EXIT),
            r"nodes of a branch must belong only to it, but \['b'\] are used elsewhere",
        ),
    ],
)
def test_invalid_graphs_are_refused(nodes, exits, problem):
    with pytest.raises(ValueError, match=problem):
        Graph(SHAPE, nodes, exits)


def test_the_valid_version_of_those_graphs_is_accepted():
    graph = Graph(SHAPE, (A, B, HEAD), (EXIT,))
    assert graph.classes == 5
    assert graph.shapes == {INPUT: SHAPE, "a": (4, 8, 8), "b": (4, 8, 8), "head": (5, 1, 1)}


def test_segments_hold_each_node_once_in_running_order():
    segments = [tuple([n.name for n in part] for part in segment) for segment in dag().segments()]
    assert segments == [(["left", "right", "meet"], ["early"]), (["imported"], ["last"])]
    assert dag().ancestors("imported") == {"left", "right", "meet", "imported"}


def test_json_round_trip(bundled, architectures):
    graphs = [dag(), *map(lower, architectures(bundled, 20))]
    for graph in graphs:
        again = Graph.from_json(json.loads(json.dumps(graph.to_json(), allow_nan=False)))
        assert again == graph
        assert again.shapes == graph.shapes


def test_the_order_of_attributes_does_not_matter_and_nodes_are_hashable():
    assert Node.make("a", "conv", ("b",), x=1, y=2) == Node.make("a", "conv", ("b",), y=2, x=1)
    assert len({conv("a", INPUT), conv("a", INPUT)}) == 1
    assert conv("a", INPUT).weights == "a"
