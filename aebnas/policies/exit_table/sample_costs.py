"""The cost of each sample to each exit where the op of an edge depends on the image.

Legend: n samples, e exits, k candidates.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from aebnas.core.metrics import ENERGY, LATENCY, MACS
from aebnas.cost.exit_costs import Costs, SampleCosts
from aebnas.cost.layer_population import LayerCost, counted, layer_key
from aebnas.cost.model import CostModel
from aebnas.runtime.graph import Graph, Node


def table_costs(model: CostModel, graph: Graph, chosen: Mapping[str, np.ndarray | Tensor]) -> dict[str, Costs]:
    """All costs of the cost model, by name, for samples with a selected candidate of every `choice`.

    `chosen` maps the node to the candidates, int `[n]`; without any, costs are the same for all samples. A latency that
    isn't a sum over layers (a learned one) is the same for all, too: that of the most expensive candidates.
    """
    costs: dict[str, Costs] = dict(model.exit_costs([graph])[0])
    if not chosen:
        return costs
    graph = model.charged(graph)
    costs[MACS] = costs_of(graph, chosen, counted(lambda counts: counts.macs))
    if model.profile is not None:
        if model.profile.additive_latency is not None:
            costs[LATENCY] = costs_of(graph, chosen, *model.profile.additive_latency)
        costs[ENERGY] = costs_of(graph, chosen, model.profile.energy.cost_mj)
    return costs


def costs_of(
    graph: Graph,
    chosen: Mapping[str, np.ndarray | Tensor],
    cost: LayerCost,
    each_run: float = 0.0,
    each_exit: float = 0.0,
) -> SampleCosts:
    """One cost: the sum over layers, `each_run` once per sample, and `each_exit` for each exit where it may leave."""
    samples = len(next(iter(chosen.values())))
    backbone, branch, so_far = [], [], np.full(samples, each_run)
    for step in graph.schedule():
        for node in step.always:
            so_far = so_far + _node_n(graph, node, chosen, cost)
        backbone.append(so_far)
        start = np.full(samples, each_exit)
        branch.append(sum((_node_n(graph, node, chosen, cost) for node in step.optional), start=start))
    names = graph.summed_nodes()  # none of them depends on the sample: choices are edges of the backbone's cells
    summed = sum(cost(layer_key(graph, node)) for node in graph.nodes if node.name in names)
    return SampleCosts(np.stack(backbone, 1), np.stack(branch, 1), float(summed))


def _node_n(graph: Graph, node: Node, chosen: Mapping[str, np.ndarray | Tensor], cost: LayerCost) -> np.ndarray:
    """The cost of the node for each sample, `[n]`, or a scalar that is the same for all."""
    costs_k = np.array([0.0 if one is None else cost(layer_key(graph, one)) for one in node.candidates()])
    return costs_k[np.asarray(chosen.get(node.name, 0))]
