"""The state of a selected point: its weights, the policy in force, and the records that apply to both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebnas.core.errors import UserError
from aebnas.run.experiment_spec import ScoredWeights
from aebnas.run.pick_records import read_pick, retrained_record
from aebnas.run.run_directory import Run
from aebnas.run.weight_files import candidate_weights, model_weights, weights_digest
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import OperatingPoint


@dataclass(frozen=True)
class SelectedModelState:
    """The state of a selected point.

    `weights` is the file of its weights, `origin` their origin as text. `point` holds the metrics on the search split
    under the policy in force. `how` describes how `calibrate` found that policy (empty if it didn't), `promise` is the
    bound on its risk, if one was certified.
    """

    weights: Path
    point: OperatingPoint
    origin: str
    how: str = ""
    promise: dict[str, Any] | None = None

    @property
    def source(self) -> str:
        """The origin of weights and policy as text; it differs for other weights and for another policy."""
        return f"{self.origin}; {self.how}" if self.how else self.origin


class OutdatedPolicy(UserError):
    """The policy that `calibrate` recorded for a point can't be used by this version and must be found again."""


def selected_model_state(run: Run, scored: ScoredWeights, picked: FrontPoint) -> SelectedModelState:
    """The state of a point: its retrained weights or those of the search, and the policy that `calibrate` found.

    Without a calibrated policy for these weights, it is the one that `retrain` found, or the search's. Raises
    OutdatedPolicy, and UserError if record or weights belong to another point of the same id (see `run.pick_records`).
    """
    state, point_id = uncalibrated_state(run, scored, picked), picked[1].id
    calibrated = read_pick(run, picked).get("calibrated")
    if calibrated is None or not state.weights.exists() or calibrated["weights"] != weights_digest(state.weights):
        return state  # there is none, or it was found for other weights
    try:
        point = OperatingPoint.from_json(calibrated)
    except ValueError as error:
        raise OutdatedPolicy(f"{run.folder / 'picks' / point_id}.json: calibrated.policy: {error}") from None
    return SelectedModelState(state.weights, point, state.origin, calibrated["how"], calibrated["promise"])


def uncalibrated_state(run: Run, scored: ScoredWeights, picked: FrontPoint) -> SelectedModelState:
    """The state of a point without the policy of `calibrate`: that of `retrain`, or the search's."""
    trial, point = picked
    retrained = retrained_record(run, picked)
    if retrained is not None:
        weights = model_weights(run, point.id)
        return SelectedModelState(weights, OperatingPoint.from_json(retrained), retrained["source"])
    if scored.inherited:
        return SelectedModelState(run.supernet_weights, point, scored.origin)
    return SelectedModelState(candidate_weights(run, trial.architecture.id), point, scored.origin)


def valid_record(run: Run, scored: ScoredWeights, picked: FrontPoint, what: str) -> dict[str, Any] | None:
    """A part of a point's record (`test`, `measured`) if it was made with the point's present weights and policy; else
    None."""
    known = read_pick(run, picked).get(what, {})
    try:
        state = selected_model_state(run, scored, picked)
    except OutdatedPolicy:
        return None
    same = known.get("source") == state.source and known.get("policy") == state.point.policy.to_json()
    return known if same else None
