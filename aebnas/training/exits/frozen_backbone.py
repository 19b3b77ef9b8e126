"""Training branches on a frozen backbone, whose norm statistics stay as they are."""

from aebnas.runtime.network import Network


def branch_nodes(network: Network) -> list[str]:
    """Names of the nodes of early exits' branches."""
    return [node.name for segment in network.graph.segments()[:-1] for node in segment.branch]


def freeze_backbone(network: Network) -> None:
    """Let nothing but early exits' branches get a gradient."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        module.requires_grad_(name in branches)


def backbone_to_eval(network: Network) -> None:
    """Put all but early exits' branches into evaluation mode: their norms use and keep the statistics they have."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        if name not in branches:
            module.eval()
