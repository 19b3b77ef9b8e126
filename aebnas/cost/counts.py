"""Exact counts of a Graph: MACs, parameters and weight bytes, to each exit.

One multiply-add is one MAC; convolutions and linear layers only, as fvcore counts them (batch norm folds away;
activations, pooling, resizing, gating and additions are not counted). Params are trainable parameters. Weight
bytes are the fp32 bytes of a weights file: parameters and batch-norm statistics.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aebnas.core.errors import UserError
from aebnas.cost.exit_costs import ExitCosts
from aebnas.runtime.cost_rules import Counts
from aebnas.runtime.graph import Graph, Node
from aebnas.runtime.ops import OPS
from aebnas.runtime.shape_rules import Shape


def count_layer(op: str, in_shape: Shape, out_shape: Shape, attrs: dict[str, Any]) -> Counts:
    """Counts of one layer; raises UserError for an op without a rule, since an unknown cost isn't zero."""
    if op not in OPS:
        raise UserError(f"op must be one with a cost rule ({', '.join(OPS)}), but got '{op}'")
    return OPS[op].counts(in_shape, out_shape, attrs)


@dataclass(frozen=True)
class GraphCounts:
    """MACs, params and weight bytes of a Graph, each to every exit."""

    macs: ExitCosts
    params: ExitCosts
    weight_bytes: ExitCosts


def count_graph(graph: Graph) -> GraphCounts:
    """Count every node once; raises UserError for an op without a rule."""
    backbone, branch, so_far = [], [], Counts(0, 0)
    for step in graph.schedule():
        so_far = so_far + _sum(graph, step.always)
        backbone.append(so_far)
        branch.append(_sum(graph, step.optional))
    names = graph.summed_nodes()
    summed = _sum(graph, [node for node in graph.nodes if node.name in names])

    def exit_costs(measure: Callable[[Counts], int]) -> ExitCosts:
        return ExitCosts(tuple(map(measure, backbone)), tuple(map(measure, branch)), measure(summed))

    return GraphCounts(
        macs=exit_costs(lambda c: c.macs),
        params=exit_costs(lambda c: c.params),
        weight_bytes=exit_costs(lambda c: c.weight_bytes),
    )


def _sum(graph: Graph, nodes: Iterable[Node]) -> Counts:
    total = Counts(0, 0)
    for node in nodes:
        total = total + count_layer(node.op, graph.shapes[node.inputs[0]], graph.shapes[node.name], node.kwargs)
    return total
