"""Truncation of networks after an exit. Imports no torch."""

from dataclasses import replace

from aebnas.runtime.graph import Graph


def cut_off(graph: Graph, leave: int, only_branch: bool = False) -> Graph:
    """The nodes that run for a sample that leaves at exit `leave`.

    With `only_branch` no earlier exit remains, and of earlier branches only those to whose logits it adds its own.
    """
    exits = graph.exits[leave : leave + 1] if only_branch else graph.exits[: leave + 1]
    needed: set[str] = set()
    for graph_exit in exits:
        for name in filter(None, (graph_exit.site, graph_exit.output, graph_exit.stop)):
            needed |= graph.ancestors(name)
    return Graph(graph.input_shape, tuple(node for node in graph.nodes if node.name in needed), exits)


def without_exits(graph: Graph) -> Graph:
    """The same backbone without early exits."""
    last = graph.exits[-1]
    if graph.boosted:
        sums = next(node for node in graph.nodes if node.name == last.output)
        last = replace(last, output=sums.inputs[0])
    needed = graph.ancestors(last.site) | graph.ancestors(last.output)
    return Graph(graph.input_shape, tuple(node for node in graph.nodes if node.name in needed), (last,))
