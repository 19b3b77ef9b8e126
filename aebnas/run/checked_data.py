"""The record of a run's images: made when it starts, checked and moved when a user says so."""

from pathlib import Path

import torch

from aebnas.core.notes import print_note
from aebnas.data.class_names import location
from aebnas.data.splits import SPLITS
from aebnas.run.data_check import location_in, new_record
from aebnas.run.data_record import DataRecord
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.run_config import RunConfig
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.space.genome import SearchSpace

RECORDED = 32
"""Images of the search split that a run keeps, whose outputs an export records for its self-check."""


def session_of_spec(
    run: Run, experiment: ExperimentSpec, space: SearchSpace, base: Path, source: Path, verify: bool
) -> RunSession:
    """The session of a search by its spec, which may name another place of the images than the run knows."""
    place = location(experiment.data, base)
    moved = False
    if DataRecord.read(run) is not None and place is not None:
        config = RunConfig.read(run)
        last = RunSession.open(run.folder)
        known = {location(config.experiment.data, config.base), location(last.data, last.base)}
        moved = place.resolve() not in {path.resolve() for path in known if path is not None}
    return RunSession(run, experiment, space, base, source, place if moved else None, verify)


def record_data(session: RunSession) -> None:
    """Write the record of a run's images unless it has one; with `session.verify` it holds contents of any size."""
    if session.data_record is not None:
        return
    images, place = session.images, location(session.data, session.base)
    splits = {name: getattr(images.splits, name) for name in SPLITS}
    listed = images.test if session.data.in_files else None
    moved = None if session.data_path is None else location_in(session.run, place)
    record = DataRecord(session.run, tuple(session.class_names()), images.preprocessing, {}, False, moved)
    record, files = new_record(record, place, splits, listed, session.verify)
    search = images.splits.search
    samples = search.subset(torch.arange(len(search))[:RECORDED]).pixels().cpu()
    record.save(images.splits.membership, samples, files)


def check_data(folder: Path, data_path: Path | None, verify: bool) -> None:
    """Compare a run's images with its record, and record where they lie now if `data_path` says so.

    Raises UserError if they have changed. Images of a run without a record are recorded as they are.
    """
    session = RunSession.open(folder, data_path, verify)
    if session.data_record is None:
        print_note(f"{folder} has no record of its images, so those of today are taken as its own")
        with session.run.update_lock():
            record_data(session)
    _ = session.images.splits
    save_place(session)


def save_place(session: RunSession) -> None:
    """Record where a session's images lie, if that has changed; raises UserError as `RunImages.splits`."""
    check, images = session.images.check, session.images
    if check is None or session.data_path is None:
        return
    check.save_moved({name: getattr(images.splits, name) for name in SPLITS}, images.test)
