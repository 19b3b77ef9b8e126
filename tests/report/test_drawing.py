import json
from itertools import pairwise

from aebnas.cost.counts import count_graph
from aebnas.report.drawing import drawing
from aebnas.runtime.graph import Graph, GraphExit, Node
from aebnas.space.lowering import lower


def test_every_node_and_edge_is_drawn_once_and_no_boxes_overlap(bundled, architectures):
    for architecture in architectures(bundled, 20):
        graph = lower(architecture)
        drawn = drawing(graph)
        boxes, lines = drawn["boxes"], drawn["lines"]
        assert [box["name"] for box in boxes] == ["input", *(node.name for node in graph.nodes)]
        edges = [(boxes[line["from"]]["name"], boxes[line["to"]]["name"]) for line in lines]
        assert edges == [(name, node.name) for node in graph.nodes for name in node.inputs]
        places = [(box["row"], box["column"]) for box in boxes]
        assert len(set(places)) == len(places) and drawn["rows"] == 1 + max(row for row, _ in places)
        for line in lines:  # a path runs down, so that no line crosses a box
            above, below = boxes[line["from"]], boxes[line["to"]]
            assert below["row"] > above["row"] or (below["column"], above["column"]) == (1, 0)
            assert architecture.cells or "skips" not in line


def test_sums_of_boosted_logits_are_below_the_exits_that_they_add(make_small):
    drawn = drawing(lower(make_small("boosted").extreme(largest=True)))
    boxes, lines = drawn["boxes"], drawn["lines"]
    exits = [box for box in boxes if box["kind"] == "exit"]
    assert [box["label"] for box in exits] == ["classifier", *["boost"] * 4]
    assert [box["column"] for box in exits] == [1, 1, 1, 1, 0]
    places = [(box["row"], box["column"]) for box in boxes]
    assert len(set(places)) == len(places) and drawn["rows"] == 1 + max(row for row, _ in places)
    added = [(boxes[line["from"]], boxes[line["to"]], line.get("skips", False)) for line in lines]
    for number, (before, after) in enumerate(pairwise(exits)):
        skips = [skip for start, end, skip in added if (start, end) == (before, after)]
        assert skips == [number < 3] and before["row"] < after["row"]  # within a column beside the boxes in between


def test_exits_are_numbered_and_branches_stand_apart(bundled, architectures):
    for architecture in architectures(bundled, 20):
        graph = lower(architecture)
        drawn = drawing(graph)
        exits = {box["exit"]: box for box in drawn["boxes"] if box["kind"] == "exit"}
        assert [exits[number]["name"] for number in range(len(graph.exits))] == [e.output for e in graph.exits]
        assert drawn["sites"] == [e.site for e in graph.exits]
        assert exits[len(graph.exits) - 1]["column"] == 0
        assert all(box["column"] == 1 for box in drawn["boxes"] if box["kind"] == "branch")
        assert all(box["column"] == 0 for box in drawn["boxes"] if box["kind"] in ("input", "backbone"))


def test_the_costs_of_the_boxes_add_up(digits, architectures):
    for architecture in architectures(digits, 5):
        graph = lower(architecture)
        boxes = drawing(graph)["boxes"]
        counts = count_graph(graph)
        assert sum(box["macs"] for box in boxes) == counts.macs.total
        assert sum(box["params"] for box in boxes) == counts.params.total


def test_a_cell_that_is_no_path_passes_beside_the_boxes_in_between():
    conv = {"in_channels": 2, "out_channels": 2, "kernel": 3, "stride": 1}
    nodes = (
        Node.make("a", "conv", ("input",), **conv),
        Node.make("b", "conv", ("a",), **conv),
        Node.make("sum", "add", ("a", "b")),
        Node.make("head", "classifier", ("sum",), in_channels=2, classes=3),
    )
    drawn = drawing(Graph((2, 4, 4), nodes, (GraphExit("sum", "head"),)))
    assert [(line["from"], line["to"], line.get("skips", False)) for line in drawn["lines"]] == [
        (0, 1, False),
        (1, 2, False),
        (1, 3, True),
        (2, 3, False),
        (3, 4, False),
    ]
    json.dumps(drawn)


def test_labels_tell_what_is_unusual():
    attrs = {"in_channels": 4, "out_channels": 8, "kernel": 5, "stride": 2, "expand": 4.0}
    nodes = (
        Node.make("block", "mbconv", ("input",), **attrs, se=True, act="hswish"),
        Node.make("head", "classifier", ("block",), in_channels=8, classes=3, pool="max"),
    )
    boxes = drawing(Graph((4, 8, 8), nodes, (GraphExit("block", "head"),)))["boxes"]
    assert [box["label"] for box in boxes] == ["image", "mbconv 5×5 /2, expand 4, se, hswish", "classifier, max pool"]
    assert boxes[1]["shape"] == [8, 4, 4]
