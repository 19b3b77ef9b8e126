"""A selected point of the front as a network with its weights."""

from dataclasses import dataclass
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.run.norm_statistics import inherited_network
from aebnas.run.selected_state import SelectedModelState
from aebnas.run.session import RunSession
from aebnas.run.weight_files import candidate_weights, load_weights, weight_names
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.space.stop_heads import is_head, with_stop_heads
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import OperatingPoint


@dataclass(frozen=True)
class SelectedModel:
    """A selected point as a network, with its retrained weights or else those that the search scored it with.

    `point` holds the metrics of these weights on the search split, under the policy in force.
    """

    trial_point: FrontPoint
    network: Network
    point: OperatingPoint
    source: str

    @property
    def policy(self) -> ExitPolicy:
        """The exit policy in force: the search's, or the one found by `retrain` or `calibrate`."""
        return self.point.policy

    @property
    def id(self) -> str:
        """The id on the front; retraining doesn't change it."""
        return self.trial_point[1].id


def load_selected_model(session: RunSession, rule: str) -> SelectedModel:
    """The network of the point that `rule` selects, with its present weights (see `run.selected_state`).

    Raises UserError if no point matches or its weights are missing.
    """
    picked = session.pick(rule)
    state = session.selected_state(picked)
    return SelectedModel(picked, load_network(session, picked), state.point, state.source)


def load_network(session: RunSession, picked: FrontPoint) -> Network:
    """The network of a selected point with its present weights; raises UserError if they are missing."""
    architecture, state = picked[0].architecture, session.uncalibrated_state(picked)
    if state.weights == session.run.supernet_weights:
        return inherited_network(session, architecture)
    require_weights(session, picked, state)
    return _network_from(state.weights, architecture)


def require_weights(session: RunSession, picked: FrontPoint, state: SelectedModelState) -> None:
    """Raise UserError if the weights of a separately trained candidate are missing. A missing supernet is reported by
    `load_weights`, since the search command trains it again."""
    if state.weights != session.run.supernet_weights and not state.weights.exists():
        raise UserError(
            f"{state.weights}: the weights are missing; retrain the point first: aebnas retrain --pick {picked[1].id}"
        )


def graph_of(session: RunSession, picked: FrontPoint) -> Graph:
    """The graph of a selected point's network with its present weights, stop heads included, without loading it."""
    graph, weights = lower(picked[0].architecture), session.uncalibrated_state(picked).weights
    if weights == session.run.supernet_weights:
        return graph
    return with_stop_heads(graph) if any(map(is_head, weight_names(weights))) else graph


def candidate_network(session: RunSession, architecture: Architecture, point_id: str) -> Network:
    """A separately trained candidate with the weights it was scored with; raises UserError if they are missing."""
    weights = candidate_weights(session.run, architecture.id)
    if not weights.exists():
        raise UserError(
            f"{weights}: the weights are missing; retrain the point first: aebnas retrain --pick {point_id}"
        )
    return _network_from(weights, architecture)


def _network_from(weights: Path, architecture: Architecture) -> Network:
    graph = lower(architecture)
    network = Network(with_stop_heads(graph) if any(map(is_head, weight_names(weights))) else graph)
    load_weights(network, weights)
    return network.eval()
