"""Costs of a network that are known before it runs: counts always, latency and energy with a device profile.

Imports no torch, so that budgets are checked before it is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aebnas.core.metrics import ENERGY, LATENCY, MACS
from aebnas.cost.counts import count_graph
from aebnas.cost.energy_model import EnergyModel
from aebnas.cost.exit_costs import ExitCosts
from aebnas.cost.latency.measured_device import AdditiveLatency
from aebnas.runtime.difficulty import estimator_macs
from aebnas.runtime.graph import Graph
from aebnas.runtime.shape_rules import Shape
from aebnas.space.stop_heads import with_stop_heads


class LatencyModel(Protocol):
    """Predicts latency on a device; made from a profile of either kind."""

    @property
    def energy(self) -> EnergyModel:
        """The energy model of the device's setting."""
        ...

    @property
    def additive_latency(self) -> AdditiveLatency | None:
        """The latency as a sum over layers; None where it isn't one."""
        ...

    def expected_range(self, graph: Graph) -> str:
        """The expected range of measurements of a whole network, as text; "" where it isn't known."""
        ...

    def description(self) -> tuple[str, list[str]]:
        """The source of the profile, and its contents in a few lines for output."""
        ...

    def latencies(self, graphs: Sequence[Graph]) -> list[ExitCosts]:
        """Predicted latency in ms per sample to every exit."""
        ...

    def difficulty_ms(self, image: Shape) -> float:
        """Latency in ms per sample of estimating an image's difficulty; raises UserError where it isn't known."""
        ...


@dataclass(frozen=True)
class CostModel:
    """Costs of graphs to each exit, by the names of an ExitTable's costs.

    Without a profile only MACs; with one latency and energy, too. `stop_heads`: every early exit is charged with a
    stop head, since a later training adds one.
    """

    profile: LatencyModel | None = None
    stop_heads: bool = False

    def charged(self, graph: Graph) -> Graph:
        """The graph as it will be exported, whose costs are counted."""
        return with_stop_heads(graph) if self.stop_heads else graph

    def exit_costs(self, graphs: Sequence[Graph]) -> list[dict[str, ExitCosts]]:
        """Costs of a whole population by name; raises UserError for a layer whose cost isn't known."""
        graphs = [self.charged(graph) for graph in graphs]
        found = [{MACS: count_graph(graph).macs} for graph in graphs]
        if self.profile is not None:
            latencies, energies = self.profile.latencies(graphs), self.profile.energy.energies(graphs)
            for costs, latency, energy in zip(found, latencies, energies, strict=True):
                costs |= {LATENCY: latency, ENERGY: energy}
        return found

    def difficulty_costs(self, image: Shape) -> dict[str, float]:
        """Costs of estimating the difficulty of an image `(c, h, w)`, by the same names.

        Raises UserError for a profile without its latency.
        """
        costs: dict[str, float] = {MACS: estimator_macs(image)}
        if self.profile is not None:
            costs |= {LATENCY: self.profile.difficulty_ms(image), ENERGY: self.profile.energy.difficulty_mj(image)}
        return costs


COUNTS = CostModel()
"""The cost model without a profile."""
