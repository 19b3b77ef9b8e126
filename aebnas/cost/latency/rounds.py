"""Measurement in rounds over all subjects, so that drift of the machine affects all equally; resumable.

Imports only Python's standard library, since the file is copied to the folders that `profile --emit` writes; the caller
provides how a subject is called and timed. The subjects are those of a job (a JSON-ready dictionary made by
`job.make_job`); measurements are appended to a file line by line, so that a kill loses at most one and the same call
resumes. Measurements that load by other processes disturbs are repeated.
"""

import argparse
import json
import os
import platform
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WARM_UP_CALLS = 3
VISIT_MS = 5.0
"""Duration of a visit to a subject, within `MIN_CALLS` to `MAX_CALLS` calls; their median is recorded."""
MIN_CALLS, MAX_CALLS = 5, 50

DISTURBED = 1.15
"""A visit is disturbed where the reference computation takes this many times its time on the idle machine."""
MAX_TRIES = 6
"""Maximum number of tries of a disturbed visit; the least disturbed try is recorded."""
REFERENCE_CALLS = 5
REFERENCES_KEPT = 400

Call = Callable[[], object]
Timer = Callable[[Call, int], list[float]]
"""Takes a call and a number of calls, returns the time of each in ms."""


def wall_times_ms(call: Call, calls: int) -> list[float]:
    """Wall-clock time of each of `calls` calls."""
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - started))
    return times


def visit_ms(call: Call, timer: Timer = wall_times_ms) -> float:
    """Median time of a call after a warm-up."""
    warm = timer(call, WARM_UP_CALLS)
    calls = min(max(MIN_CALLS, round(VISIT_MS / max(min(warm), 1e-3))), MAX_CALLS)
    return statistics.median(timer(call, calls))


class LoadGuard:
    """Detects load by other processes, by a reference computation whose time is known from earlier calls.

    Load that shares a core, a cache or the clock with a measurement slows the reference, too.
    """

    def __init__(self, call: Call, timer: Timer = wall_times_ms) -> None:
        self._call, self._timer = call, timer
        self._times: list[float] = []
        for _ in range(WARM_UP_CALLS):
            self.slowed()

    def slowed(self) -> float:
        """Present time of the reference over the first decile of its recent times."""
        now = statistics.median(self._timer(self._call, REFERENCE_CALLS))
        self._times = [*self._times[-REFERENCES_KEPT:], now]
        return now / sorted(self._times)[len(self._times) // 10]


def undisturbed_ms(call: Call, reference: LoadGuard, timer: Timer = wall_times_ms) -> float:
    """`visit_ms` of a try with an idle machine before and after it; see `MAX_TRIES`."""
    tries: list[tuple[float, float]] = []
    while len(tries) < MAX_TRIES:
        before = reference.slowed()
        ms = visit_ms(call, timer)
        tries.append((max(before, reference.slowed()), ms))
        if tries[-1][0] <= DISTURBED:
            break
    return min(tries)[1]


def subjects(job: dict[str, Any]) -> int:
    """Number of subjects of a job: layers, then networks, then the estimator of difficulty if it has an `image`."""
    return len(job["layers"]) + len(job["networks"]) + (job.get("image") is not None)


def visits(job: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """(round, subject) of all measurements: each round visits all subjects in a random order of its own."""
    for number in range(job["rounds"]):
        order = list(range(subjects(job)))
        random.Random(f"{job['seed']}-{number}").shuffle(order)
        for subject in order:
            yield number, subject


def measure_in_rounds(
    job: dict[str, Any],
    record: Path,
    call_of: Callable[[int], Call],
    reference: Call,
    advance: Callable[[], object],
    timer: Timer = wall_times_ms,
) -> list[list[float]]:
    """Measure what `record` doesn't hold yet; returns milliseconds of every subject (see `subjects`), one per round.

    `call_of` prepares a subject, `advance` is called after each measurement. Raises ValueError where `record`
    belongs to another job.
    """
    known = recorded(job, record)
    guard = LoadGuard(reference, timer)
    with record.open("a", encoding="utf-8") as lines:
        if not record.stat().st_size:
            lines.write(json.dumps({"job": job["id"]}) + "\n")
        for number, subject in visits(job):
            if (number, subject) in known:
                continue
            known[number, subject] = ms = undisturbed_ms(call_of(subject), guard, timer)
            lines.write(json.dumps([number, subject, ms]) + "\n")
            lines.flush()
            advance()
    return [[known[number, subject] for number in range(job["rounds"])] for subject in range(subjects(job))]


def recorded(job: dict[str, Any], record: Path) -> dict[tuple[int, int], float]:
    """Measurements of a job in `record`, by (round, subject); an incomplete last line, left by a kill, is removed.

    Raises ValueError where it belongs to another job.
    """
    if not record.exists():
        return {}
    content = record.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(record, whole)
    lines = [json.loads(line) for line in content[:whole].splitlines()]
    if lines and lines[0] != {"job": job["id"]}:
        raise ValueError(f"{record}: was begun for another space or setting; delete it, or choose another --out")
    return {(number, subject): ms for number, subject, ms in lines[1:]}


def processor() -> str:
    """The processor's name as the system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return named[0] if named else platform.processor()


def finished(
    job: dict[str, Any], times_ms: list[list[float]], device: dict[str, Any], libraries: dict[str, str]
) -> dict[str, Any]:
    """A finished job: all data that a profile is made from."""
    return {
        "job": job,
        "device": device,
        "libraries": {"python": platform.python_version()} | libraries,
        "date": time.strftime("%Y-%m-%d"),
        "times_ms": [[round(ms, 6) for ms in rounds] for rounds in times_ms],
    }


Measure = Callable[[dict[str, Any], Path, Callable[[], object]], list[list[float]]]


def measure_folder(
    folder: Path, about: str | None, measure: Measure, result: Callable[[dict[str, Any], list[list[float]]], Any]
) -> None:
    """The main function of an emitted folder's script: measures its job, shows progress, writes the result."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=folder / "result.json")
    options = parser.parse_args()
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    record = options.out.with_name(options.out.name + ".partial.jsonl")
    total = subjects(job) * job["rounds"]
    before = done = len(recorded(job, record))
    started = time.monotonic()

    def advance() -> None:
        nonlocal done
        done += 1
        if done % max(1, total // 100) == 0 or done == total:
            left_s = (time.monotonic() - started) / (done - before) * (total - done)
            print(f"\r{done}/{total}, {left_s:.0f} s left ", end="", file=sys.stderr, flush=True)

    found = result(job, measure(job, record, advance))
    options.out.write_text(json.dumps(found), encoding="utf-8")
    record.unlink()
    print(f"\nwrote {options.out}; import it with: aebnas profile SPACE --import {shlex.quote(options.out.name)}")
