"""`aebnas profile`: measures every distinct layer of a space on one device, and whole networks to fit overheads."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.cost.latency.emit import emit, emit_onnx
from aebnas.cost.latency.fitting import make_profile, measured_difficulty, network_times
from aebnas.cost.latency.latency_model import latency_model
from aebnas.cost.latency.network_profile import (
    NetworkLatency,
    PairsProfile,
    Profile,
    load_profile,
    read_pairs,
    write_architectures,
)
from aebnas.cost.latency.rounds import recorded, subjects
from aebnas.cost.latency.stopwatch import MeasurementSetting, measure, result
from aebnas.runtime.graph import Graph
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace


def profile_space(
    job: dict[str, Any], out: Path, note: Callable[[str], object] = print, helpers: Sequence[Profile] = ()
) -> Profile:
    """Measure a job on this machine and write its profile to `out`; a stopped measurement resumes.

    Raises UserError where `out` exists, was begun for another job, or the device isn't available.
    """
    check_new(out)
    report_left_out(job, note)
    record = record_file(out)
    record.parent.mkdir(parents=True, exist_ok=True)
    total = subjects(job) * job["rounds"]
    try:
        done = len(recorded(job, record))
        with progress_bar("profile", total, done) as bar:
            times_ms = measure(job, record, bar.advance)
    except ValueError as error:
        raise UserError(str(error)) from None
    profile = profile_of(result(job, times_ms), str(out), helpers)
    profile.save(out)
    record.unlink()
    return profile


def check_new(out: Path) -> None:
    """Raise UserError where a profile would overwrite a file."""
    if out.exists():
        raise UserError(f"{out}: must not exist yet, but does; choose another --out, or delete it")


def profile_of(found: dict[str, Any], source: str, helpers: Sequence[Profile] = ()) -> Profile:
    """The profile of a finished job: of its layers, or learned from its networks where it has no layers.

    Raises UserError for anything else, or too few networks to learn from.
    """
    try:
        if found["job"]["layers"]:
            return make_profile(found, source)
        job = found["job"]
        pairs = tuple(
            NetworkLatency(Graph.from_json(one["graph"]), one["leave"], float(np.median(rounds)))
            for one, rounds in zip(job["networks"], network_times(found), strict=True)
        )
        about = {name: found[name] for name in ("device", "libraries", "date")}
        return PairsProfile(
            setting=job["setting"],
            **about,
            rounds=job["rounds"],
            difficulty=measured_difficulty(found),
            pairs=pairs,
            helpers=tuple(helpers),
            source=source,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{source}: must be what measure.py wrote, but got another file ({error!r})") from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def profile_of_pairs(
    file: Path, space: SearchSpace, setting: MeasurementSetting, device: str, out: Path, helpers: Sequence[Profile] = ()
) -> Profile:
    """The profile learned from a file of pairs (see `read_pairs`), measured elsewhere on a device named `device`.

    Raises UserError for a malformed file, or pairs that lack an op of the space.
    """
    check_new(out)
    pairs = read_pairs(file)
    date = time.strftime("%Y-%m-%d")
    profile = PairsProfile(
        setting=asdict(setting),
        device={"name": device},
        libraries={},
        date=date,
        rounds=1,
        pairs=pairs,
        helpers=tuple(helpers),
        source=str(file),
    )
    profile.check_covers(space.spec)
    profile.save(out)
    return profile


def load_helpers(files: Sequence[Path], space: SearchSpace) -> list[Profile]:
    """Read profiles of other devices; raises UserError for a file that isn't one, or lacks a layer of the space."""
    helpers = [load_profile(file) for file in files]
    for helper in helpers:
        helper.check_covers(space.spec)
    return helpers


def record_file(out: Path) -> Path:
    """The file of measurements until the profile `out` is complete."""
    return out.with_name(out.name + ".partial.jsonl")


def report_left_out(job: dict[str, Any], note: Callable[[str], object]) -> None:
    """Print a note where not all layers are measured."""
    measured, left = len(job["layers"]), len(job["left_out"])
    if left:
        note(f"of {measured + left:,} distinct layers {measured:,} are measured, the rest is estimated from them")


def emit_job(job: dict[str, Any], folder: Path, note: Callable[[str], object] = print, onnx: bool = False) -> None:
    """Write a folder that measures the job without aebnas; raises UserError for a folder that isn't empty.

    The networks of a job without layers are also written to `architectures.jsonl`, to be measured in another way.
    """
    report_left_out(job, note)
    (emit_onnx if onnx else emit)(job, folder)
    if not job["layers"]:
        networks = [(Architecture.from_json(one["architecture"]), one["leave"]) for one in job["networks"]]
        write_architectures(folder / "architectures.jsonl", networks)


def import_result(file: Path, space: SearchSpace, out: Path, helpers: Sequence[Profile] = ()) -> Profile:
    """Make a profile from the file that an emitted folder's `measure.py` wrote.

    Raises UserError for any other file, or one that lacks a layer of the space.
    """
    check_new(out)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: must be JSON, but got another file ({error})") from None
    profile = profile_of(found, str(file), helpers)
    profile.check_covers(space.spec)
    profile.save(out)
    return profile


def print_profile(profile: Profile) -> None:
    """Print a profile in a few lines."""
    made_from, lines = latency_model(profile).description()
    print(f"{profile.device['name']}: {MeasurementSetting(**profile.setting).key}; {made_from}")
    for line in lines:
        print(f"  {line}")
    if profile.difficulty is not None:
        shape, ms, spread_ms = profile.difficulty
        print(f"  difficulty  {ms:.4f} ms (+-{spread_ms:.4f}) for a batch of images of {' x '.join(map(str, shape))}")
