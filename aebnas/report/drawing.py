"""A Graph as boxes and lines: the backbone in the left column, branches in the right one, both from top to bottom.

There are always two columns, so that a drawing fits a phone. A place is a row (from 0, downwards) and a column
(0 the backbone, 1 the branches).
"""

from typing import Any

from aebnas.cost.counts import count_layer
from aebnas.runtime.graph import INPUT, Graph, Node

SHOWN_ELSEWHERE = {
    "in_channels",
    "out_channels",
    "classes",
    "side",
    "kernel",
    "stride",
    "expand",
    "se",
    "act",
    "pool",
} | {
    "out_shape",
    "macs",
    "params",
    "norm_channels",
    "ops",
    "start",
}
"""Attributes that a label states in another form, or that are shown beside it."""


def drawing(graph: Graph) -> dict[str, Any]:
    """`rows`, `boxes`, `lines` and the `sites` of the exits of a graph, ready for JSON.

    A box has `row`, `column`, `kind` (input, backbone, branch or exit), `name`, `label`, `shape [c, h, w]`, `macs`,
    `params`, and `exit` (from 0) if it computes the logits of an exit. A line joins boxes `from` and `to`, given as
    indices into `boxes`; `skips` is true if other boxes lie between them in the column.
    """
    place = _places(graph)
    outputs = {graph_exit.output: number for number, graph_exit in enumerate(graph.exits)}
    branches = {node.name for segment in graph.segments() for node in segment.branch}
    boxes: list[dict[str, Any]] = [_box(graph, None, place[INPUT], "input")]
    lines = []
    index = {INPUT: 0}
    above: dict[int, str] = {}
    for node in graph.nodes:
        kind = "exit" if node.name in outputs else "branch" if node.name in branches else "backbone"
        box = _box(graph, node, place[node.name], kind)
        if kind == "exit":
            box["exit"] = outputs[node.name]
        index[node.name] = len(boxes)
        boxes.append(box)
        column = box["column"]
        for name in node.inputs:
            line = {"from": index[name], "to": index[node.name]}
            if boxes[index[name]]["column"] == column and above.get(column, INPUT) != name:
                line["skips"] = True
            lines.append(line)
        above[column] = node.name
    rows = 1 + max(row for row, _ in place.values())
    return {"rows": rows, "boxes": boxes, "lines": lines, "sites": [graph_exit.site for graph_exit in graph.exits]}


def _places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Row and column of every node: a branch begins beside its site, below the end of the previous branch.

    The last branch continues the backbone's column; where it adds the previous exit's logits, it does so below them.
    """
    place = {INPUT: (0, 0)}
    row, free = 0, 0
    for graph_exit, segment in zip(graph.exits, graph.segments(), strict=True):
        for node in segment.backbone:
            row += 1
            if node.name == graph_exit.site:
                row = max(row, free)
            place[node.name] = (row, 0)
        last = graph_exit is graph.exits[-1]
        start = place[graph_exit.site][0] + 1 if last else max(place[graph_exit.site][0], free)
        for offset, node in enumerate(segment.branch):
            below = max((place[name][0] + 1 for name in node.inputs if last and place[name][1]), default=0)
            place[node.name] = (max(start + offset, below), 0 if last else 1)
        if not last:
            free = start + len(segment.branch)
    return place


def _box(graph: Graph, node: Node | None, place: tuple[int, int], kind: str) -> dict[str, Any]:
    name = INPUT if node is None else node.name
    box: dict[str, Any] = {"row": place[0], "column": place[1], "kind": kind, "name": name}
    if node is None:
        return box | {"label": "image", "shape": list(graph.input_shape), "macs": 0, "params": 0}
    shape = graph.shapes[name]
    counts = count_layer(node.op, graph.shapes[node.inputs[0]], shape, node.kwargs)
    return box | {"label": _label(node), "shape": list(shape), "macs": counts.macs, "params": counts.params}


def _label(node: Node) -> str:
    """Op, kernel, stride and all attributes without default values: `mbconv 5×5 /2, expand 4, se, hswish`."""
    attrs = node.kwargs
    if node.depends_on_sample:
        return " or ".join(
            name if one is None else _label(one) for (name, _), one in zip(attrs["ops"], node.candidates(), strict=True)
        )
    words = [node.op.replace("_", " ")]
    if "kernel" in attrs:
        words[0] += f" {attrs['kernel']}×{attrs['kernel']}"
    if attrs.get("stride", 1) != 1:
        words[0] += f" /{attrs['stride']}"
    if "expand" in attrs:
        words.append(f"expand {attrs['expand']:g}")
    if attrs.get("se"):
        words.append("se")
    if attrs.get("act", "relu") != "relu":
        words.append(str(attrs["act"]))
    if attrs.get("pool", "avg") != "avg":
        words.append(f"{attrs['pool']} pool")
    words += [f"{key} {value}" for key, value in attrs.items() if key not in SHOWN_ELSEWHERE]
    return ", ".join(words)
