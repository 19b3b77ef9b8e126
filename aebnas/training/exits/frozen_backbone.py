"""Training branches on a frozen backbone, whose norm statistics stay unchanged.

In a boosted network the last exit's classifier is a branch like any other, since it adds to the earlier exits' logits.
"""

from aebnas.runtime.network import Network


def branch_nodes(network: Network) -> list[str]:
    """Names of the nodes of early exits' branches, and of the last one's in a boosted network."""
    graph = network.graph
    segments = graph.segments() if graph.boosted else graph.segments()[:-1]
    return [node.name for segment in segments for node in segment.branch]


def freeze_backbone(network: Network) -> None:
    """Let only the branches (see `branch_nodes`) receive gradients."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        module.requires_grad_(name in branches)


def backbone_to_eval(network: Network) -> None:
    """Put everything except the branches into evaluation mode: norms use their statistics unchanged."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        if name not in branches:
            module.eval()
