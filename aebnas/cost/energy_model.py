"""Energy as joules per MAC and per byte moved, for devices without a counter and for predictions.

The default values are those of Horowitz, "Computing's energy problem" (ISSCC 2014), for 45 nm and 32-bit floats: 4.6 pJ
per multiply-add, 5 pJ per byte from a cache. Newer chips need less of both, so the model ranks networks rather than
predicts their energy; a profile may state values of its own.

Imports no torch. Units: mJ per sample, pJ in the model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aebnas.cost.exit_costs import ExitCosts
from aebnas.cost.layer_population import Population, count_key, max_candidate_cost, out_shape
from aebnas.runtime.cost_rules import BYTES_PER_WEIGHT
from aebnas.runtime.difficulty import estimator_macs
from aebnas.runtime.graph import Graph
from aebnas.runtime.op import LayerKey
from aebnas.runtime.shape_rules import Shape

Source = Literal["nvml", "rapl", "model"]
"""The source of a value of energy; see `energy`."""
ITEM_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
MJ_PER_PJ = 1e-9


@dataclass(frozen=True)
class EnergyModel:
    """Picojoules per MAC and per byte of weights and activations moved, in a number format (`fp32`)."""

    pj_per_mac: float = 4.6
    pj_per_byte: float = 5.0
    dtype: str = "fp32"
    source: Source = "model"

    def energies(self, graphs: Sequence[Graph]) -> list[ExitCosts]:
        """Modelled mJ of one sample to every exit, for a whole population at once."""
        population = Population.of(graphs)
        return population.costs([max_candidate_cost(key, self.cost_mj) for key in population.layers])

    def energy(self, graph: Graph) -> ExitCosts:
        """Modelled mJ of one sample to every exit of one graph."""
        return self.energies([graph])[0]

    def difficulty_mj(self, image: Shape) -> float:
        """Modelled mJ of estimating the difficulty of an `image` (c, h, w): it is read, an fp32 number is written."""
        moved = math.prod(image) + ITEM_BYTES["fp32"]
        return (self.pj_per_mac * estimator_macs(image) + self.pj_per_byte * moved) * MJ_PER_PJ

    def cost_mj(self, key: LayerKey) -> float:
        """Modelled mJ of a layer."""
        macs, moved = layer_work(key, self.dtype)
        return (self.pj_per_mac * macs + self.pj_per_byte * moved) * MJ_PER_PJ


HOROWITZ = EnergyModel()


def layer_work(key: LayerKey, dtype: str = "fp32") -> tuple[int, int]:
    """(MACs, bytes moved) of a layer: its inputs, its weights and its output once each."""
    counts = count_key(key)
    items = sum(map(math.prod, [*key[1], out_shape(key)]))
    weights = counts.weight_bytes // BYTES_PER_WEIGHT
    return counts.macs, (items + weights) * ITEM_BYTES[dtype]
