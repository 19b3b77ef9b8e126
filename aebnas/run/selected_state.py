"""The state of a selected point: with which weights, under which policy, and which records still apply to it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebnas.run.experiment_spec import ScoredWeights
from aebnas.run.pick_records import read_pick, retrained_record
from aebnas.run.run_directory import Run
from aebnas.run.weight_files import candidate_weights, model_weights, weights_digest
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import OperatingPoint


@dataclass(frozen=True)
class SelectedModelState:
    """The file with a selected point's weights and the origin of these, its metrics on the search split under the
    policy in force, how `calibrate` found that policy (empty if it didn't), and its promise about risk."""

    weights: Path
    point: OperatingPoint
    origin: str
    how: str = ""
    promise: dict[str, Any] | None = None

    @property
    def source(self) -> str:
        """Where weights and policy come from, for people; other weights or another policy have another source."""
        return f"{self.origin}; {self.how}" if self.how else self.origin


def selected_model_state(run: Run, scored: ScoredWeights, picked: FrontPoint) -> SelectedModelState:
    """A point with the weights it was retrained to or scored with, and the policy that `calibrate` found for them.

    Where `calibrate` found none the policy is the one found after retraining, or the search's. Raises UserError where
    its record or weights belong to another point of the same id (see `run.pick_records`).
    """
    trial, point = picked
    retrained = retrained_record(run, picked)
    if retrained is not None:
        state = SelectedModelState(
            model_weights(run, point.id), OperatingPoint.from_json(retrained), retrained["source"]
        )
    elif scored.inherited:
        state = SelectedModelState(run.supernet_weights, point, scored.origin)
    else:
        state = SelectedModelState(candidate_weights(run, trial.architecture.id), point, scored.origin)
    calibrated = read_pick(run, picked).get("calibrated")
    if calibrated is None or not state.weights.exists() or calibrated["weights"] != weights_digest(state.weights):
        return state  # found for other weights
    point = OperatingPoint.from_json(calibrated)
    return SelectedModelState(state.weights, point, state.origin, calibrated["how"], calibrated["promise"])


def valid_record(run: Run, scored: ScoredWeights, picked: FrontPoint, what: str) -> dict[str, Any] | None:
    """A part of a point's record (`test`, `measured`) if it was made with the weights and the policy that the point
    has now; else None."""
    state, known = selected_model_state(run, scored, picked), read_pick(run, picked).get(what, {})
    same = known.get("source") == state.source and known.get("policy") == state.point.policy.to_json()
    return known if same else None
