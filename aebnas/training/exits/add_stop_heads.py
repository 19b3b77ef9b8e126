"""Adding the stop heads that a network's training specifies."""

import torch

from aebnas.runtime.network import Network
from aebnas.space.stop_heads import with_stop_heads
from aebnas.supernet.elastic import initialise
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec


def add_stop_heads(network: Network, exits: ExitTrainingSpec, seed: int = 0) -> Network:
    """The network with the stop heads that its training specifies, initialised from the seed; otherwise unchanged."""
    graph = with_stop_heads(network.graph)
    if not exits.stop_heads or graph == network.graph:
        return network
    headed = Network(graph)
    initialise(headed, torch.Generator().manual_seed(seed))
    headed.load_state_dict(network.state_dict(), strict=False)
    return headed.train(network.training).to(next(network.parameters()).device)
