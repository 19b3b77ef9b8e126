"""Networks cut off behind an exit. Imports no torch."""

from aebnas.runtime.graph import Graph


def cut_off(graph: Graph, leave: int, alone: bool = False) -> Graph:
    """What runs for a sample that leaves at an exit; `alone`: with no other branch than that exit's."""
    kept = graph.exits[leave : leave + 1] if alone else graph.exits[: leave + 1]
    needed: set[str] = set()
    for graph_exit in kept:
        for name in filter(None, (graph_exit.site, graph_exit.output, graph_exit.stop)):
            needed |= graph.ancestors(name)
    return Graph(graph.input_shape, tuple(node for node in graph.nodes if node.name in needed), kept)
