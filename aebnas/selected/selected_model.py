"""How a pick stands: with which weights and which policy, and what else is noted of it in its run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebnas.core.atomic_files import write_json
from aebnas.core.earlier_names import with_present_names
from aebnas.core.errors import UserError
from aebnas.evaluation.evaluator import inherit
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.weight_files import candidate_weights, load_weights, model_weights, weight_names, weights_digest
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import OperatingPoint
from aebnas.training.exits.stop_heads import is_head, with_stop_heads

RENAMED = {
    "shifts": "corruptions",
    "shift": "corruption",
    "unfamiliar": "ood",
    "kept_on_calibrate": "met_on_calibrate",
    "surer_than_0.9": "confidence_above_0.9",
}
"""Fields of earlier versions' records of evaluations, and their present names."""


@dataclass(frozen=True)
class SelectedModel:
    """A picked point as a network: retrained if it was, else with the weights under which the search scored it.

    `point` are the figures of these weights, under the policy that goes with them, on the search split.
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
    """The pick's network as it stands now (see `selected_model_state`); raises UserError where its weights are lost."""
    picked = session.pick(rule)
    architecture, now = picked[0].architecture, selected_model_state(session, picked)
    evaluate = session.experiment.evaluate
    if now.weights == session.run.supernet_weights:
        calibration = session.calibration(evaluate.calibration_images)
        with session.repeatable():
            network = inherit(session.trained_supernet(), architecture, calibration)
        return SelectedModel(picked, network, now.point, now.source)
    require_weights(session, picked, now)
    return SelectedModel(picked, _network_from(now.weights, architecture), now.point, now.source)


def require_weights(session: RunSession, picked: FrontPoint, now: "SelectedModelState") -> None:
    """Raise UserError where a candidate trained by itself has lost its weights; a search makes a supernet's anew."""
    if now.weights != session.run.supernet_weights and not now.weights.exists():
        raise UserError(
            f"{now.weights}: the weights are not there; retrain the point first: aebnas retrain --pick {picked[1].id}"
        )


@dataclass(frozen=True)
class SelectedModelState:
    """Where a pick stands: the file with its weights and where they come from, its figures on the search split under
    the policy in force, how `calibrate` found that policy (empty if it didn't), and what it promised about risk."""

    weights: Path
    point: OperatingPoint
    origin: str
    how: str = ""
    promise: dict[str, Any] | None = None

    @property
    def source(self) -> str:
        """Where weights and policy come from, for people; others have another."""
        return f"{self.origin}; {self.how}" if self.how else self.origin


def selected_model_state(session: RunSession, picked: FrontPoint) -> SelectedModelState:
    """A pick with the weights it was retrained to or scored with, and the policy that `calibrate` found for them.

    Without that the policy is the one found after retraining, or the search's.
    """
    trial, point = picked
    run, evaluate = session.run, session.experiment.evaluate
    retrained = retrained_record(run, point.id)
    if retrained is not None:
        now = SelectedModelState(model_weights(run, point.id), OperatingPoint.from_json(retrained), retrained["source"])
    elif evaluate.mode == "supernet":
        now = SelectedModelState(run.supernet_weights, point, session.experiment.source)
    else:
        now = SelectedModelState(candidate_weights(run, trial.architecture.id), point, session.experiment.source)
    calibrated = read_pick(run, point.id).get("calibrated")
    if calibrated is None or not now.weights.exists() or calibrated["weights"] != weights_digest(now.weights):
        return now  # found for other weights
    point = OperatingPoint.from_json(calibrated)
    return SelectedModelState(now.weights, point, now.origin, calibrated["how"], calibrated["promise"])


def graph_of(session: RunSession, picked: FrontPoint) -> Graph:
    """The graph of a pick's network as it stands, stop heads included, without loading it."""
    graph, weights = lower(picked[0].architecture), selected_model_state(session, picked).weights
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


def read_pick(run: Run, point_id: str) -> dict[str, Any]:
    """What is known of a pick beyond the search: `retrained`, `calibrated`, `test`, `measured`."""
    name = f"picks/{point_id}.json"
    return with_present_names(run.read_json(name), RENAMED) if (run.folder / name).exists() else {}


def known_of_pick(session: RunSession, picked: FrontPoint, what: str) -> dict[str, Any] | None:
    """What was noted of a pick (`test`, `measured`) with the weights and policy it has now; None if nothing was."""
    now, known = selected_model_state(session, picked), read_pick(session.run, picked[1].id).get(what, {})
    same = known.get("source") == now.source and known.get("policy") == now.point.policy.to_json()
    return known if same else None


def retrained_record(run: Run, point_id: str) -> dict[str, Any] | None:
    """What is known of a pick's retraining (an operating point and more); None where there was none."""
    # a kill may have left the record or the weights alone
    return read_pick(run, point_id).get("retrained") if model_weights(run, point_id).exists() else None


def note_pick(run: Run, point_id: str, key: str, value: dict[str, Any] | None) -> None:
    """Add to what is known of a pick; None takes it away."""
    with run.noting():
        known = {k: v for k, v in read_pick(run, point_id).items() if k != key}
        write_json(run.folder / "picks" / f"{point_id}.json", known | ({} if value is None else {key: value}))
