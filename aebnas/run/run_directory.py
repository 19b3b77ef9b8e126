"""The run directory: an append-only record of trials beside the files that describe the run.

A kill at any moment loses at most the trials in flight. Trials are lines of JSON, each flushed to disk before
the next; an incomplete last line is dropped when the run is resumed.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aebnas.core.atomic_files import cannot_write, remove_partials, sync_folder, write_json
from aebnas.core.earlier_names import with_present_names
from aebnas.core.errors import UserError, check_utf8
from aebnas.run.locks import is_locked, lock
from aebnas.run.recorded_trials import RecordedTrials
from aebnas.strategies.trial import Trial

WITHOUT_EFFECT = frozenset({"experiment.evaluate.workers", "experiment.ray"})
"""Keys of a configuration that may change between sessions, since results don't depend on them."""

PLACES = frozenset({"base", "experiment.data.path", "experiment.data.root"})
"""Keys that may change, too, in a run that knows its images wherever they lie."""

Config = dict[str, Any]
"""The content of `config.json`."""

BLOCK_BYTES = 1 << 20

SHOWN = 40
"""Maximum number of characters that a message shows of a value."""


class Run:
    """One directory under `results/`. Raises UserError where its path isn't UTF-8: reports and exports state its name,
    and safetensors opens no such file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        check_utf8(str(folder.resolve()), f"{folder}: the folder of a run")
        self.trials_file = folder / "trials.jsonl"
        self.checkpoints = folder / "checkpoints"
        self._run_lock = folder / "run.lock"
        self.profile_file = folder / "device_profile.json"
        self.relaxed = folder / "relaxed"
        self.supernet_weights = self.checkpoints / "supernet.safetensors"

    @classmethod
    def start(
        cls,
        folder: Path,
        config: Config,
        with_defaults: Callable[[Config], Config] = lambda known: known,
        may_differ: Collection[str] = (),
    ) -> "Run":
        """Create the run, or open one of the same configuration, but for the keys that `may_differ`.

        `with_defaults` adds defaults of newer keys to a configuration that an earlier version wrote. Raises UserError
        if the run was started with another configuration, with the keys that differ, or if the folder can't be written.
        """
        run = cls(folder)
        if not run._config_file.exists():
            with run.locked():  # if two start at once, only one may write the configuration
                if not run._config_file.exists():
                    write_json(run._config_file, config)
        ignored = WITHOUT_EFFECT.union(may_differ)
        differing = sorted(d for d in _differing(with_defaults(run.config()), config) if d[0] not in ignored)
        if differing:
            changed = ", ".join(f"{key} (was {_short(old)}, now {_short(new)})" for key, old, new in differing)
            raise UserError(
                f"{folder}: was started with another spec; these keys differ: {changed}; "
                "give --out another folder, or delete this one"
            )
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run; raises UserError if the folder isn't one."""
        run = cls(folder)
        if not run._config_file.exists():
            raise UserError(f"{folder}: is not a run folder (it has no config.json)")
        return run

    @property
    def _config_file(self) -> Path:
        return self.folder / "config.json"

    def model_folder(self, point_id: str) -> Path:
        """The folder of a point's retraining and of its weights."""
        return self.folder / "models" / point_id

    def config(self) -> Config:
        """The configuration that the run was started with; raises UserError if it can't be read."""
        return self.read_json("config.json")

    def image_counts(self) -> dict[str, int]:
        """Number of images in each split, from `protocol.json`; raises UserError if it can't be read."""
        return with_present_names(self.read_json("protocol.json"), {"pictures": "images"})["images"]

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run; raises UserError if it can't be read or isn't a JSON object."""
        path = self.folder / name
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None
        if not isinstance(value, dict):
            raise UserError(f"{path}: must hold a JSON object, but got {type(value).__name__}")
        return value

    def summary(self) -> dict[str, Any]:
        """`summary.json`; empty where there is none, or a damaged one, which the next `resume` writes again."""
        if not (self.folder / "summary.json").exists():
            return {}
        try:
            return self.read_json("summary.json")
        except UserError:
            return {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the exclusive lock of a search; raises UserError if another process works on the run."""
        refusal = f"{self.folder}: another process is working on this run; wait for it, or stop it"
        with lock(self._run_lock, refusal):
            # A retraining takes its own lock before it checks this one, so if both start at once, at least one of them
            # is refused.
            if any(map(is_locked, self.folder.glob("models/*/retrain.lock"))):
                raise UserError(refusal)
            yield

    @contextmanager
    def retraining(self, point_id: str) -> Iterator[None]:
        """Hold the lock of one point's retraining; other points may be retrained at the same time. Raises UserError if
        a search works on the run or another process retrains this point."""
        another = f"{self.model_folder(point_id)}: another process is retraining this pick; wait for it, or stop it"
        with lock(self.model_folder(point_id) / "retrain.lock", another):
            if is_locked(self._run_lock):
                raise UserError(f"{self.folder}: a search is working on this run; wait for it, or stop it")
            yield

    @contextmanager
    def update_lock(self) -> Iterator[None]:
        """Hold the lock for a read-modify-write of a small shared file; waits for it."""
        with lock(self.folder / "notes.lock"):
            yield

    def remember_once(self, what: str, decide: Callable[[], str]) -> str:
        """The value that `decide` returned in the first session of the run, recorded in `settled.json`."""
        with self.update_lock():
            known = self.read_json("settled.json") if (self.folder / "settled.json").exists() else {}
            if what not in known:
                known[what] = decide()
                write_json(self.folder / "settled.json", known)
            return known[what]

    def recover(self) -> None:
        """Remove what a kill left incomplete: a partial last trial, unfinished files. The run must be locked."""
        self.drop_torn_line()
        with self.update_lock():
            remove_partials(self.folder)

    def append(self, trial: Trial) -> None:
        """Append a trial; it is on disk when this returns. Raises UserError, and leaves no partial line, if it can't be
        written."""
        line = json.dumps(trial.to_json(), allow_nan=False).encode() + b"\n"
        try:
            # unbuffered, so that no data remain in a buffer after a failure
            with self.trials_file.open("ab", buffering=0) as handle:
                before = handle.seek(0, os.SEEK_END)
                try:
                    rest = memoryview(line)
                    while rest:
                        rest = rest[handle.write(rest) :]
                    os.fsync(handle.fileno())
                except BaseException:
                    handle.truncate(before)
                    raise
            if before == 0:
                sync_folder(self.folder)
        except OSError as error:
            raise cannot_write(self.trials_file, error) from error

    def recorded(self) -> RecordedTrials:
        """The trials on disk, sorted by number, each read when it is asked for. Raises UserError as `trials`."""
        return RecordedTrials(self.trials_file)

    def trials(self) -> list[Trial]:
        """All trials, sorted by number, in memory; a partial last line is ignored.

        Raises UserError, with the line number, if another line can't be read.
        """
        return list(self.recorded())

    def drop_torn_line(self) -> None:
        """Remove a partial last line that a kill left, so that the next trial starts on a new line."""
        if not self.trials_file.exists():
            return
        with self.trials_file.open("rb+") as file:
            end = size = file.seek(0, os.SEEK_END)
            while end:  # backwards, since the file may be large
                start = max(0, end - BLOCK_BYTES)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    end = start + newline + 1
                    break
                end = start
            if end < size:
                file.truncate(end)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time spent in this context to that of the phase, over all sessions, including those that failed."""
        started = time.monotonic()
        try:
            yield
        except BaseException:
            with suppress(UserError):  # the error that ended the phase is the one to report
                self._add_seconds(phase, time.monotonic() - started)
            raise
        self._add_seconds(phase, time.monotonic() - started)

    def _add_seconds(self, phase: str, seconds: float) -> None:
        with self.update_lock():
            spent = self.seconds()
            spent[phase] = round(spent.get(phase, 0.0) + seconds, 1)
            write_json(self.folder / "seconds.json", spent)

    def record_pflop(self, phase: str, pflop: float | None) -> None:
        """Record the compute of a phase's result; None where it isn't known.

        It replaces what was recorded before: what a kill lost, or a later retraining replaced, isn't counted.
        """
        with self.update_lock():
            write_json(self.folder / "pflop.json", self.pflop() | {phase: pflop})

    def pflop(self) -> dict[str, float | None]:
        """PFLOP of each phase so far, None where it isn't known; empty before the first, and for earlier versions."""
        return self.read_json("pflop.json") if (self.folder / "pflop.json").exists() else {}

    def seconds(self) -> dict[str, float]:
        """Seconds spent in each phase so far; empty before the first."""
        return self.read_json("seconds.json") if (self.folder / "seconds.json").exists() else {}


def _differing(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted paths at which two JSON values differ, with both values; None for a missing key."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _differing(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
