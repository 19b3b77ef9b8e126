"""`picks/<id>.json`: what is recorded of a selected point of the front beyond the search."""

from typing import Any

from aebnas.core.atomic_files import write_json
from aebnas.run.run_directory import Run
from aebnas.run.weight_files import model_weights


def read_pick(run: Run, point_id: str) -> dict[str, Any]:
    """The record of a point: `retrained`, `calibrated`, `test`, `measured`, as far as they are there."""
    name = f"picks/{point_id}.json"
    return run.read_json(name) if (run.folder / name).exists() else {}


def picked_ids(run: Run) -> list[str]:
    """Ids of the points that have a record, in alphabetical order."""
    return sorted(path.stem for path in run.folder.glob("picks/*.json"))


def record_pick(run: Run, point_id: str, key: str, value: dict[str, Any] | None) -> None:
    """Set one part of a point's record; None removes it."""
    with run.noting():
        known = {k: v for k, v in read_pick(run, point_id).items() if k != key}
        write_json(run.folder / "picks" / f"{point_id}.json", known | ({} if value is None else {key: value}))


def retrained_record(run: Run, point_id: str) -> dict[str, Any] | None:
    """The record of a point's retraining (an operating point and more); None where it was not retrained."""
    # a kill may have left the record or the weights alone
    return read_pick(run, point_id).get("retrained") if model_weights(run, point_id).exists() else None
