"""Training branches on a frozen backbone, whose norm statistics stay unchanged."""

from aebnas.runtime.network import Network


def branch_nodes(network: Network) -> list[str]:
    """Names of the nodes of early exits' branches."""
    return [node.name for segment in network.graph.segments()[:-1] for node in segment.branch]


def freeze_backbone(network: Network) -> None:
    """Let only the branches of early exits receive gradients."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        module.requires_grad_(name in branches)


def backbone_to_eval(network: Network) -> None:
    """Put everything except early exits' branches into evaluation mode: norms use their statistics unchanged."""
    branches = set(branch_nodes(network))
    for name, module in network.nodes.items():
        if name not in branches:
            module.eval()
