"""Latency to each exit, learned from whole networks' latencies on a device (a `PairsProfile`).

The predictor's input is a network truncated after an exit. The cost of an exit's branch is the difference that it makes
to later exits, so costs are additive as those of a measured profile; none is negative.

Legend: e exits, n networks, d helping devices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aebnas.cost.energy_model import EnergyModel
from aebnas.cost.exit_costs import ExitCosts
from aebnas.cost.latency.device_profile import DeviceProfile
from aebnas.cost.latency.network_profile import PairsProfile, Profile
from aebnas.cost.latency.predictor import LatencyPredictor, Predicted, feature_matrix, graph_features
from aebnas.cost.model import LatencyModel
from aebnas.cost.truncation import cut_off, without_exits
from aebnas.runtime.graph import Graph
from aebnas.runtime.shape_rules import Shape


@dataclass(frozen=True)
class LearnedLatency:
    """A profile with the predictor fitted to its pairs; see `fit`."""

    profile: PairsProfile
    names: tuple[str, ...]
    predictor: LatencyPredictor
    helpers: tuple[LatencyModel, ...]

    @classmethod
    def fit(cls, profile: PairsProfile) -> "LearnedLatency":
        """Fit the predictor; equal pairs give equal predictions."""
        cut = [cut_off(pair.graph, pair.leave) for pair in profile.pairs]
        rows = [graph_features(graph) for graph in cut]
        names = tuple(sorted({name for row in rows for name in row}))
        helpers = tuple(map(latency_model, profile.helpers))
        others_nd = _helper_latencies(helpers, cut)
        latency_ms = np.array([pair.ms for pair in profile.pairs])
        return cls(profile, names, LatencyPredictor().fit(feature_matrix(rows, names), latency_ms, others_nd), helpers)

    @property
    def energy(self) -> EnergyModel:
        """Modelled energy in the profile's number format."""
        return self.profile.energy

    def difficulty_ms(self, image: Shape) -> float:
        """See `MeasuredDevice.difficulty_ms`."""
        return self.profile.difficulty_ms(image)

    @property
    def additive_latency(self) -> None:
        """None: a learned latency isn't a sum over layers."""
        return None

    def expected_range(self, graph: Graph) -> str:
        """The expected range of measurements, as text."""
        whole = self.whole([graph])
        low_ms, high_ms = whole.low_ms[0], whole.high_ms[0]
        return f"learned: if every node runs, 95 % of measurements should be within {low_ms:.3f} to {high_ms:.3f} ms"

    def description(self) -> tuple[str, list[str]]:
        """The source of the profile, and the accuracy of its predictions, in a few lines for output."""
        low, high = self.predictor.left_out_range
        lines = [f"helped by   {', '.join(helper.device['name'] for helper in self.profile.helpers)}"]
        return f"learned from {len(self.profile.pairs)} networks", [
            *(lines if self.profile.helpers else []),
            f"networks    of those left out 95 % are within {100 * (low - 1):+.1f} to {100 * (high - 1):+.1f} %",
        ]

    def whole(self, graphs: Sequence[Graph]) -> Predicted:
        """Latency per call of each network if every node runs, with the expected range of measurements."""
        x_nf = feature_matrix([graph_features(graph) for graph in graphs], self.names)
        return self.predictor.predict_range(x_nf, _helper_latencies(self.helpers, graphs))

    def latencies(self, graphs: Sequence[Graph]) -> list[ExitCosts]:
        """Predicted latency in ms per sample to every exit, for a whole population at once."""
        cut = [cut_off(graph, e, only) for graph in graphs for only in (True, False) for e in range(len(graph.exits))]
        cut += [without_exits(graph) for graph in graphs if graph.boosted]
        ms = self.whole(cut).latency_ms / self.profile.setting["batch"] if cut else np.zeros(0)
        alone_ms = iter(ms[2 * sum(len(graph.exits) for graph in graphs) :])
        found, start = [], 0
        for graph in graphs:
            exits = len(graph.exits)
            single_e, passed_e = ms[start : start + 2 * exits].reshape(2, exits)
            # branches before exit e cost passed_e - single_e together; the last branch is part of the backbone
            before_e = np.maximum.accumulate(np.maximum(passed_e - single_e, 0.0))
            branch_e = np.append(np.diff(before_e), 0.0)
            backbone_e = np.maximum.accumulate(np.maximum(single_e - branch_e, 0.0))
            summed = max(float(backbone_e[-1] - next(alone_ms)), 0.0) if graph.boosted else 0.0
            found.append(ExitCosts(tuple(backbone_e.tolist()), tuple(branch_e.tolist()), summed))
            start += 2 * exits
        return found


MODELS: dict[str, Callable[[Any], LatencyModel]] = {
    DeviceProfile.kind: lambda profile: profile,
    PairsProfile.kind: LearnedLatency.fit,
}
"""Kind of profile -> its LatencyModel. Not a method of profiles, which are read before scikit-learn is imported."""


def latency_model(profile: Profile) -> LatencyModel:
    """The LatencyModel of a profile."""
    return MODELS[profile.kind](profile)


def _helper_latencies(helpers: Sequence[LatencyModel], graphs: Sequence[Graph]) -> np.ndarray | None:
    """Predicted latencies of the graphs on other devices, `[n, d]`; None without any."""
    if not helpers:
        return None
    columns = [[costs.to_exit()[-1] for costs in helper.latencies(graphs)] for helper in helpers]
    return np.array(columns).reshape(len(helpers), len(graphs)).T
