"""The run directory: an append-only record of trials beside the files that describe the run.

A kill at any moment loses at most the trials in flight. Trials are lines of JSON, each flushed to disk before
the next; a torn last line is dropped when the run is opened again.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aebnas.errors import UserError
from aebnas.files import write_json
from aebnas.trial import Trial

WITHOUT_EFFECT = frozenset({"experiment.evaluate.workers", "experiment.ray"})
"""Keys of a configuration that may change between sittings: results are the same wherever they are made."""


class Run:
    """One directory under `results/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.trials_file = folder / "trials.jsonl"
        self.checkpoints = folder / "checkpoints"
        self.supernet_weights = self.checkpoints / "supernet.safetensors"

    @classmethod
    def start(cls, folder: Path, config: dict[str, Any]) -> "Run":
        """Create the run, or go on with one of the same configuration.

        Raises UserError naming the keys that differ from what the run was started with.
        """
        run = cls(folder)
        if run._config_file.exists():
            differing = sorted(set(_differing(run.config(), config)) - WITHOUT_EFFECT)
            if differing:
                raise UserError(
                    f"{folder}: was started with another spec; these keys differ: {', '.join(differing)} "
                    "(give --out another folder, or delete this one)"
                )
        else:
            try:
                write_json(run._config_file, config)
            except OSError as error:
                raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """A run that is there; raises UserError if the folder isn't one."""
        run = cls(folder)
        if not run._config_file.exists():
            raise UserError(f"{folder}: is no run (it has no config.json)")
        return run

    @property
    def _config_file(self) -> Path:
        return self.folder / "config.json"

    def config(self) -> dict[str, Any]:
        """What the run was started with."""
        return self.read_json("config.json")

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run; raises UserError when it can't be read."""
        path = self.folder / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing to this run; raises UserError if one already does."""
        with (self.folder / "run.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"{self.folder}: another process is working on this run") from None
            yield

    def append(self, trial: Trial) -> None:
        """Add a trial; it is on disk when this returns."""
        with self.trials_file.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(trial.to_json(), allow_nan=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def trials(self) -> list[Trial]:
        """All trials in the order of their numbers; a torn last line doesn't count.

        Raises UserError, with the line's number, if another line can't be read.
        """
        trials = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                trials.append(Trial.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise UserError(f"{self.trials_file}, line {number}: is no trial: {why}") from None
        return sorted(trials, key=lambda trial: trial.number)

    def drop_torn_line(self) -> None:
        """Cut off what a kill left of an unfinished last line, so that the next trial starts a line of its own."""
        if self.trials_file.exists():
            whole = self.trials_file.read_bytes().rfind(b"\n") + 1
            with self.trials_file.open("rb+") as handle:
                handle.truncate(whole)

    def _lines(self) -> list[str]:
        """The finished lines."""
        if not self.trials_file.exists():
            return []
        return self.trials_file.read_bytes().decode("utf-8", errors="replace").split("\n")[:-1]

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to the phase's, over all sittings, broken-off ones too."""
        started = time.monotonic()
        try:
            yield
        finally:
            spent = self.seconds()
            spent[phase] = round(spent.get(phase, 0.0) + time.monotonic() - started, 1)
            write_json(self.folder / "seconds.json", spent)

    def seconds(self) -> dict[str, float]:
        """Seconds spent in each phase so far."""
        return self.read_json("seconds.json") if (self.folder / "seconds.json").exists() else {}


def _differing(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Dotted paths at which two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _differing(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path
