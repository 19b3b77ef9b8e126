"""Gradient equilibrium (Li et al. 2019): the backbone isn't driven harder where more exits follow."""

from collections.abc import Sequence

import torch

from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower


def backbone_factors(graph: Graph, weights: Sequence[float]) -> dict[str, float]:
    """Backbone node -> factor on its gradients: 1 / (sum of the weights of the exits at or after it).

    The gradient of a node before exits i, ..., E is sum_{j>=i} w_j g_j; with the factor it is their weighted mean.
    1 where all of these weights are 0.
    """
    factors: dict[str, float] = {}
    for index, segment in enumerate(graph.segments()):
        after = sum(weights[index:])
        factors |= {node.name: 1 / after if after > 0 else 1.0 for node in segment.backbone}
    return factors


def path_factors(architectures: Sequence[Architecture], weights: Sequence[Sequence[float]]) -> dict[str, float]:
    """`backbone_factors` of one backbone under several sets of branches, whose loss is the mean over them."""
    sums: dict[str, float] = {}
    for architecture, exit_weights in zip(architectures, weights, strict=True):
        for name, factor in backbone_factors(lower(architecture), exit_weights).items():
            sums[name] = sums.get(name, 0.0) + 1 / factor
    return {name: len(architectures) / total for name, total in sums.items()}


def rescale_gradients(network: Network, weights: Sequence[float]) -> None:
    """Multiply the gradients of the backbone's parameters by their factors, in place."""
    grads, factors = [], []
    for name, factor in backbone_factors(network.graph, weights).items():
        for parameter in network.nodes[name].parameters():
            if parameter.grad is not None and factor != 1:
                grads.append(parameter.grad)
                factors.append(factor)
    if grads:
        torch._foreach_mul_(grads, factors)
