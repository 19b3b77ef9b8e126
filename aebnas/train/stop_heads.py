"""Stop heads for learned halting: a linear layer on each early exit's pooled features, sigma(u_i(h_i))."""

from dataclasses import replace

import torch

from aebnas.nn.elastic import initialise
from aebnas.runtime.graph import Graph, Node
from aebnas.runtime.network import Network
from aebnas.train.exit_config import ExitsSpec

SUFFIX = "_stop"


def with_stop_heads(graph: Graph) -> Graph:
    """The graph with a stop head at every early exit that has none; it looks at the backbone's features there."""
    heads: dict[str, Node] = {}
    exits = []
    for graph_exit in graph.exits[:-1]:
        if graph_exit.stop:
            exits.append(graph_exit)
            continue
        name, channels = f"{graph_exit.output}{SUFFIX}", graph.shapes[graph_exit.site][0]
        heads[graph_exit.output] = Node.make(name, "classifier", (graph_exit.site,), in_channels=channels, classes=1)
        exits.append(replace(graph_exit, stop=name))
    nodes = [part for node in graph.nodes for part in (node, heads.get(node.name)) if part is not None]
    return Graph(graph.input_shape, tuple(nodes), (*exits, graph.exits[-1]))


def prepared(network: Network, exits: ExitsSpec, seed: int = 0) -> Network:
    """The network with the stop heads that its training asks for, newly drawn from the seed; else as it is."""
    graph = with_stop_heads(network.graph)
    if not exits.stop_heads or graph == network.graph:
        return network
    headed = Network(graph)
    initialise(headed, torch.Generator().manual_seed(seed))
    headed.load_state_dict(network.state_dict(), strict=False)
    return headed.train(network.training).to(next(network.parameters()).device)


def is_head(weight: str) -> bool:
    """Whether a weight of a network is that of a stop head."""
    return weight.removeprefix("nodes.").partition(".")[0].endswith(SUFFIX)
