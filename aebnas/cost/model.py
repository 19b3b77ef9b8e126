"""What a search knows of a network's cost before it runs: counts always, latency and energy with a device profile.

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
    """A device profile of either kind."""

    @property
    def energy(self) -> EnergyModel:
        """The energy model that goes with the device's setting."""
        ...

    @property
    def additive_latency(self) -> AdditiveLatency | None:
        """The latency as a sum over layers; None where it isn't one."""
        ...

    def expected_range(self, graph: Graph) -> str:
        """Within which measurements of a whole network should lie, for people; "" where that isn't known."""
        ...

    def description(self) -> tuple[str, list[str]]:
        """What the profile was made from, and what it holds, for people."""
        ...

    def latencies(self, graphs: Sequence[Graph]) -> list[ExitCosts]:
        """Predicted latency in ms per sample to every exit."""
        ...

    def difficulty_ms(self, image: Shape) -> float:
        """Latency in ms per sample of estimating an image's difficulty; raises UserError where that isn't known."""
        ...


@dataclass(frozen=True)
class CostModel:
    """Costs of graphs to each exit, under the names by which an ExitTable holds them.

    Without a profile MACs alone; with one latency and energy, too. `stop_heads`: every early exit is charged with a
    stop head, since a later training gives it one.
    """

    profile: LatencyModel | None = None
    stop_heads: bool = False

    def charged(self, graph: Graph) -> Graph:
        """The graph as it will be shipped, which is the one that is counted."""
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
        """What it costs to estimate the difficulty of an image `(c, h, w)`, under the same names.

        Raises UserError for a profile that doesn't know it.
        """
        costs: dict[str, float] = {MACS: estimator_macs(image)}
        if self.profile is not None:
            costs |= {LATENCY: self.profile.difficulty_ms(image), ENERGY: self.profile.energy.difficulty_mj(image)}
        return costs


COUNTS = CostModel()
"""Without a profile."""
