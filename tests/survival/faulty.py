"""The command line in a process of its own, with faults planted into it: a kill, a full disk, a NaN at a marked call.

The product has no hooks for this. A fault wraps a function where it is used, counts its calls and strikes at one.
"""

import errno
import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_run import EXPERIMENT

PRELOADED = """
aebnas.cli.main aebnas.search.loop aebnas.selected.retrain aebnas.selected.evaluate aebnas.report.tables
aebnas.strategies.nsga2
sklearn.datasets torch._dynamo torch.utils.data torch.utils.tensorboard
plotly.graph_objects matplotlib.backends.backend_agg
"""
# imported once, by the process from which all others are forked: a command begins within a tenth of a second
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PRELOADED.split())

TRAINING = {"batch_size": 128}
QUICK: dict[str, Any] = {
    "supernet": EXPERIMENT["supernet"] | TRAINING,
    "retrain": EXPERIMENT["retrain"] | TRAINING,
}
"""Changes to the tiny experiment: six steps in each of two epochs."""

LIMIT_S = 240.0


@dataclass(frozen=True)
class Fault:
    """`act` before (or `after`) the `nth` call of `target` ("module:attribute"), of those with a path to `file`.

    The act `deadly ONCE ALWAYS MARKER` puts `_deadly` in the place of a module's `_Worker`.
    """

    target: str
    act: str = "kill"
    nth: int = 1
    file: str | None = None
    after: bool = False


def moving(file: str, nth: int = 1, after: bool = False, act: str = "kill") -> Fault:
    """At the moment when a file that was written beside its place is moved there."""
    return Fault("pathlib:Path.replace", act, nth, file, after)


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (minus the signal that killed it) and all that it printed."""

    code: int
    printed: str

    @property
    def error(self) -> str:
        """The error message, one line."""
        (line,) = [line for line in self.printed.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in self.printed
        return line


def aebnas(*arguments: object, faults: tuple[Fault, ...] = (), largest_file: int | None = None) -> Ended:
    """Run a command to its end; with `largest_file` no file may get larger than so many bytes."""
    with tempfile.NamedTemporaryFile(prefix="aebnas-", suffix=".log") as log:
        words = [str(argument) for argument in arguments]
        process = _CONTEXT.Process(target=_child, args=(words, faults, largest_file, log.name))
        process.start()
        process.join(LIMIT_S)
        printed = Path(log.name).read_text(encoding="utf-8", errors="replace")
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(printed)
        return Ended(process.exitcode, printed)


def _child(words: list[str], faults: tuple[Fault, ...], largest_file: int | None, log: str) -> None:
    from aebnas.cli.main import main

    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    for fault in faults:
        plant(fault)
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    main(words)


def plant(fault: Fault) -> None:
    """Wrap the fault's target."""
    module, _, path = fault.target.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    if fault.act.startswith("deadly "):
        owner._Worker = _deadly(owner._Worker, *fault.act.split()[1:])
        return
    original, calls = getattr(owner, name), [0]

    def struck(*args: Any, **kwargs: Any) -> Any:
        if fault.file is None or any(isinstance(arg, Path) and arg.name == fault.file for arg in args):
            calls[0] += 1
            if calls[0] == fault.nth:
                if not fault.after:
                    ACTS[fault.act](*args)
                else:
                    result = original(*args, **kwargs)
                    ACTS[fault.act](result)
                    return result
        return original(*args, **kwargs)

    setattr(owner, name, struck)


def _deadly(worker: type, once: str, always: str, marker: str) -> type:
    """A worker whose process is killed by one architecture once (it leaves `marker`) and by another always."""

    class Deadly(worker):  # type: ignore[misc, valid-type] # a local class travels to Ray's workers with its code
        def score(self, architecture: Any) -> Any:
            first = architecture.id == once and not Path(marker).exists()
            if first:
                Path(marker).touch()
            if first or architecture.id == always:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().score(architecture)

    return Deadly


def _kill(*args: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _signal(number: int) -> Callable[..., None]:
    def send(*args: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        os.kill(os.getpid(), number)

    return send


def _tear(run: Any, trial: Any) -> None:
    """What a kill in the middle of writing a trial leaves."""
    with run.trials_file.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(trial.to_json())[:100])
    _kill()


def _raise(error: BaseException) -> Callable[..., None]:
    def act(*args: Any) -> None:
        raise error

    return act


def _sleep(*args: Any) -> None:
    time.sleep(3)


def _make_nan(network: Any, *args: Any) -> None:
    """Every weight of a network."""
    for parameter in network.parameters():
        parameter.data.fill_(float("nan"))


ACTS: dict[str, Callable[..., None]] = {
    "kill": _kill,
    "tear": _tear,
    "interrupt": _signal(signal.SIGINT),
    "terminate": _signal(signal.SIGTERM),
    "full disk": _raise(OSError(errno.ENOSPC, "No space left on device")),
    "read-only": _raise(OSError(errno.EROFS, "Read-only file system")),
    "no memory": _raise(MemoryError()),
    "NaN": _make_nan,
    "slow": _sleep,
}
