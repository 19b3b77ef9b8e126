"""Truncation of networks after an exit. Imports no torch."""

from aebnas.runtime.graph import Graph


def cut_off(graph: Graph, leave: int, only_branch: bool = False) -> Graph:
    """The nodes that run for a sample that leaves at exit `leave`; with `only_branch` no other branch than its own."""
    exits = graph.exits[leave : leave + 1] if only_branch else graph.exits[: leave + 1]
    needed: set[str] = set()
    for graph_exit in exits:
        for name in filter(None, (graph_exit.site, graph_exit.output, graph_exit.stop)):
            needed |= graph.ancestors(name)
    return Graph(graph.input_shape, tuple(node for node in graph.nodes if node.name in needed), exits)
