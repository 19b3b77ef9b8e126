"""The expected cost of a relaxed network: the costs of its candidates, weighted by their mixing weights.

C_i(x), the cost up to exit i, is that of everything that would run for a sample that leaves there: the layers before
the cells, the controller, all edges up to the exit's node, and the branches and stop heads passed. It is divided by
a constant, the cost of the costliest architecture, since dividing by this architecture's own cost would remove the
gradient.

Legend: n samples, e exits, g edges, k candidates, b branches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aebnas.core.errors import UserError
from aebnas.cost.energy_model import HOROWITZ
from aebnas.cost.latency.network_profile import Profile
from aebnas.cost.layer_population import LayerCost, counted
from aebnas.runtime.cost_rules import Counts
from aebnas.space.branch_layers import boost_key
from aebnas.space.layer import Layer
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork

COUNTED: Mapping[str, Callable[[Counts], int]] = {
    "macs": lambda counts: counts.macs,
    "params": lambda counts: counts.params,
    "weight_bytes": lambda counts: counts.weight_bytes,
}


def layer_cost(metric: str, profile: Profile | None = None) -> LayerCost:
    """The cost of a layer under a metric: `macs`, `params`, `weight_bytes`, `latency_ms` (of a profile) or `energy_mj`.

    Raises UserError for another metric, and for latency without a profile of layers. Of a device's overheads those per
    layer are included; those per run are the same for all architectures.
    """
    if metric in COUNTED:
        return counted(COUNTED[metric])
    if metric == "latency_ms":
        latency = None if profile is None else profile.additive_latency
        if latency is None:
            known = "none" if profile is None else f"{profile.source}, which holds whole networks only"
            raise UserError(f"latency_ms must have a device profile of layers, but got {known}")
        return latency.layer_ms
    if metric == "energy_mj":
        return (HOROWITZ if profile is None else profile.energy).cost_mj
    names = ", ".join([*COUNTED, "latency_ms", "energy_mj"])
    raise UserError(f"a relaxed network's cost must be one of {names}, but got '{metric}'")


@dataclass(frozen=True)
class RelaxedCosts:
    """Costs of the parts of a relaxed network as fractions of `total`, the cost of the costliest architecture.

    `fixed_e` is the cost of parts without a choice, up to each exit; `edges_egk` that of each candidate of each edge up
    to each exit (in all cells before it that share the edge); `branches` `[b]` that of each branch candidate of each
    early exit.
    """

    total: float
    fixed_e: Tensor
    edges_egk: Tensor
    branches: tuple[Tensor, ...]

    def expected(self, mix_ngk: Tensor, betas: Sequence[Tensor]) -> Tensor:
        """C_i(x) as a fraction of `total`, `[n, e]` (n is 1 where it is the same for all samples)."""
        edges_ne = torch.einsum("ngk,egk->ne", mix_ngk, self.edges_egk.to(mix_ngk.device))
        each = [
            (beta.softmax(0) * costs.to(beta.device)).sum() for beta, costs in zip(betas, self.branches, strict=True)
        ]
        passed = torch.stack(each).cumsum(0) if each else edges_ne.new_zeros(0)
        passed_e = torch.cat([passed, passed[-1:] if len(passed) else passed.new_zeros(1)])
        return edges_ne + passed_e + self.fixed_e.to(mix_ngk.device)


def relaxed_costs(network: RelaxedNetwork, key_cost: LayerCost) -> RelaxedCosts:
    """The costs of a relaxed network's parts, each layer's given by `key_cost`."""

    def cost(layer: Layer) -> float:
        return key_cost(layer.key)

    dag, early = network.dag, len(network.sites)
    ends = [(site.stage, site.block or dag.nodes) for site in network.sites] + [(len(network.shapes) - 1, dag.nodes)]
    before = sum(map(cost, (*network.stem_layers, *network.controller_layers)))
    stops = [*map(cost, network.stop_layers), *([0.0] * (early - len(network.stop_layers)))]
    boost = key_cost(boost_key(network.spec.classes)) if network.boosted and early else 0.0
    fixed_e = torch.zeros(early + 1)
    edges_egk = torch.zeros(early + 1, *network.alpha_gk.shape)
    for e, (last, node) in enumerate(ends):
        reductions = sum(cost(layer) for layer in network.reductions[: last + 1] if layer is not None)
        fixed_e[e] = before + reductions + sum(stops[: e + 1]) + e * boost
        for cell in range(last + 1):
            for edge, (_, target) in enumerate(dag.pairs):
                if cell < last or target <= node:
                    costs = [0.0 if layer is None else cost(layer) for layer in network.edge_layers[cell][edge]]
                    edges_egk[e, network.group(cell, edge)] += torch.tensor(costs)
    fixed_e[-1] += cost(network.head_layer)
    branches = [torch.tensor([float(sum(map(cost, b.parts))) for b in several]) for several in network.branches]
    max_candidate_cost = sum(float(costs.max()) for costs in branches)
    total = float(fixed_e[-1] + edges_egk[-1].amax(-1).sum()) + max_candidate_cost
    return RelaxedCosts(total, fixed_e / total, edges_egk / total, tuple(costs / total for costs in branches))
