"""A selected point of the front as a network with its weights."""

from dataclasses import dataclass
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.evaluation.evaluator import inherit
from aebnas.run.selected_state import SelectedModelState
from aebnas.run.session import RunSession
from aebnas.run.training_setup import repeatable, trained_supernet
from aebnas.run.weight_files import candidate_weights, load_weights, weight_names
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import OperatingPoint
from aebnas.training.exits.stop_heads import is_head, with_stop_heads


@dataclass(frozen=True)
class SelectedModel:
    """A selected point as a network: retrained if it was, else with the weights under which the search scored it.

    `point` holds the metrics of these weights on the search split, under the policy in force.
    """

    trial_point: FrontPoint
    network: Network
    point: OperatingPoint
    source: str

    @property
    def policy(self) -> ExitPolicy:
        """When to stop: the search's policy, or the one found after retraining."""
        return self.point.policy

    @property
    def id(self) -> str:
        """The id by which the point was picked; retraining doesn't change it."""
        return self.trial_point[1].id


def load_selected_model(session: RunSession, rule: str) -> SelectedModel:
    """The network of the point that `rule` selects, with its present weights (see `run.selected_state`).

    Raises UserError where its weights are lost.
    """
    picked = session.pick(rule)
    state = session.selected_state(picked)
    return SelectedModel(picked, load_network(session, picked), state.point, state.source)


def load_network(session: RunSession, picked: FrontPoint) -> Network:
    """The selected point's network with its present weights, whatever its policy; raises UserError where they are
    lost."""
    architecture, state = picked[0].architecture, session.uncalibrated_state(picked)
    if state.weights == session.run.supernet_weights:
        calibration = session.images.calibration(session.experiment.evaluate.calibration_images)
        with repeatable(session.experiment):
            return inherit(trained_supernet(session), architecture, calibration)
    require_weights(session, picked, state)
    return _network_from(state.weights, architecture)


def require_weights(session: RunSession, picked: FrontPoint, state: SelectedModelState) -> None:
    """Raise UserError where a candidate trained by itself has lost its weights; a search makes a supernet's anew."""
    if state.weights != session.run.supernet_weights and not state.weights.exists():
        raise UserError(
            f"{state.weights}: the weights are not there; retrain the point first: aebnas retrain --pick {picked[1].id}"
        )


def graph_of(session: RunSession, picked: FrontPoint) -> Graph:
    """The graph of a selected point's network with its present weights, stop heads included, without loading it."""
    graph, weights = lower(picked[0].architecture), session.uncalibrated_state(picked).weights
    if weights == session.run.supernet_weights:
        return graph
    return with_stop_heads(graph) if any(map(is_head, weight_names(weights))) else graph


def kept_network(session: RunSession, architecture: Architecture, point_id: str) -> Network:
    """A candidate that was trained by itself, with the weights it was scored with; UserError where they are gone."""
    kept = candidate_weights(session.run, architecture.id)
    if not kept.exists():
        raise UserError(f"{kept}: the weights are not there; retrain the point first: aebnas retrain --pick {point_id}")
    return _network_from(kept, architecture)


def _network_from(weights: Path, architecture: Architecture) -> Network:
    graph = lower(architecture)
    network = Network(with_stop_heads(graph) if any(map(is_head, weight_names(weights))) else graph)
    load_weights(network, weights)
    return network.eval()
