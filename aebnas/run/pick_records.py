"""`picks/<id>.json` and `models/<id>/`: records of a selected point of the front, made after the search.

A point's id contains 24 bits of its policy's hash, so two points of a run can have the same id by accident. Record and
model folder therefore store the architecture and the policy of their point, and are checked whenever they are read or
written. Those of version 0.1 store neither and belong to any point with their id.
"""

import json
from pathlib import Path
from typing import Any

from aebnas.core.atomic_files import write_json
from aebnas.core.earlier_names import with_present_names
from aebnas.core.errors import UserError
from aebnas.run.run_directory import Run
from aebnas.run.weight_files import model_weights
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.architecture import Architecture
from aebnas.strategies.front import FrontPoint

POINT = "point"
"""The key in a record, and the name of the file in a model folder, that identifies its point."""

RENAMED = {
    "shifts": "corruptions",
    "shift": "corruption",
    "unfamiliar": "ood",
    "kept_on_calibrate": "met_on_calibrate",
    "surer_than_0.9": "confidence_above_0.9",
}
"""Fields of earlier versions' records of evaluations, and their present names."""


def picked_ids(run: Run) -> list[str]:
    """Ids of the points that have a record, in alphabetical order."""
    return sorted(path.stem for path in run.folder.glob("picks/*.json"))


def read_record(run: Run, point_id: str) -> dict[str, Any]:
    """The record under an id, without checking its point: those of `retrained`, `calibrated`, `test` and `measured`
    that exist; empty if there is no record."""
    name = f"picks/{point_id}.json"
    return with_present_names(run.read_json(name), RENAMED) if (run.folder / name).exists() else {}


def read_pick(run: Run, picked: FrontPoint) -> dict[str, Any]:
    """The record of a point; raises UserError if it belongs to another point of the same id."""
    point_id = picked[1].id
    record = read_record(run, point_id)
    _check(run.folder / "picks" / f"{point_id}.json", record.get(POINT), picked)
    return record


def record_pick(run: Run, picked: FrontPoint, key: str, value: dict[str, Any] | None) -> None:
    """Set one part of a point's record; None removes it. Raises UserError as `read_pick`."""
    with run.update_lock():
        known = {k: v for k, v in read_pick(run, picked).items() if k != key} | {POINT: _identity(picked)}
        write_json(run.folder / "picks" / f"{picked[1].id}.json", known | ({} if value is None else {key: value}))


def claim_model_folder(run: Run, picked: FrontPoint) -> None:
    """Record that the model folder of a point's id belongs to this point; raises UserError if it belongs to another
    point."""
    check_model_folder(run, picked)
    write_json(_point_file(run, picked[1].id), _identity(picked))


def check_model_folder(run: Run, picked: FrontPoint) -> None:
    """Raise UserError if the model folder of a point's id belongs to another point."""
    path = _point_file(run, picked[1].id)
    if path.exists():
        _check(path, run.read_json(str(path.relative_to(run.folder))), picked)


def retrained_record(run: Run, picked: FrontPoint) -> dict[str, Any] | None:
    """The record of a point's retraining (an operating point and its source); None if it was not retrained.

    Raises UserError if record or weights belong to another point of the same id.
    """
    check_model_folder(run, picked)
    record = read_pick(run, picked).get("retrained")
    # a kill may have left the record without the weights, or the reverse
    return record if model_weights(run, picked[1].id).exists() else None


def owns_record(run: Run, picked: FrontPoint) -> bool:
    """Whether there is a record under a point's id and it belongs to this point."""
    try:
        return bool(read_pick(run, picked))
    except UserError:
        return False


def owns_model_folder(run: Run, picked: FrontPoint) -> bool:
    """Whether the model folder of a point's id belongs to this point, or names no point."""
    try:
        check_model_folder(run, picked)
    except UserError:
        return False
    return True


def _point_file(run: Run, point_id: str) -> Path:
    return run.model_folder(point_id) / f"{POINT}.json"


def _identity(picked: FrontPoint) -> dict[str, Any]:
    return {"architecture": picked[0].architecture.to_json(), "policy": picked[1].policy.to_json()}


def _check(path: Path, stored: Any, picked: FrontPoint) -> None:
    """Raise UserError if `stored` is the identity of another point; None identifies none."""
    if stored is None:
        return
    try:
        owner = Architecture.from_json(stored["architecture"]), ExitPolicy.from_json(stored["policy"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UserError(f"{path}: must name the point that it belongs to, but cannot be read: {why}") from None
    wanted = picked[0].architecture, picked[1].policy
    if owner != wanted:
        raise UserError(
            f"{path}: must belong to {_text(*wanted)}, but belongs to {_text(*owner)}, another point of the same id; "
            "work with one of the two in a copy of the run"
        )


def _text(architecture: Architecture, policy: ExitPolicy) -> str:
    return f"architecture {architecture.id} ({architecture}) under policy {json.dumps(policy.to_json())}"
