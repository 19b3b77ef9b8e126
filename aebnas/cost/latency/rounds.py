"""Measuring in rounds through all subjects, so that drift of the machine hits all alike; resumable, and on guard.

Needs Python alone, since it goes into the folders that `profile --emit` writes as it is; how a subject is called and
timed is handed in. What is to be measured is a job (a JSON-ready dictionary made by `job.make_job`); what was
measured is appended to a file line by line, so that a kill loses one measurement at most and the same call goes on from
there.
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
"""A visit to a subject takes at least this long or `MAX_CALLS`, and `MIN_CALLS` at least; its figure is the median."""
MIN_CALLS, MAX_CALLS = 5, 50

DISTURBED = 1.15
"""A visit is disturbed where the reference beside it takes so many times what it takes on the idle machine."""
MAX_TRIES = 6
"""How often a visit is tried while something disturbs it; the least disturbed try then counts."""
REFERENCE_CALLS = 5
REFERENCES_KEPT = 400

Call = Callable[[], object]
Timer = Callable[[Call, int], list[float]]
"""The time in ms that each of so many calls takes."""


def wall_times_ms(call: Call, calls: int) -> list[float]:
    """By the clock on the wall."""
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
    """Detects whether the machine is busy with something else, by a computation whose time is known from earlier calls.

    Whatever shares a core, a cache or the clock with a measurement slows the reference as well.
    """

    def __init__(self, call: Call, timer: Timer = wall_times_ms) -> None:
        self._call, self._timer = call, timer
        self._times: list[float] = []
        for _ in range(WARM_UP_CALLS):
            self.slowed()

    def slowed(self) -> float:
        """How many times as long it takes now as it did in the best tenth of its last calls."""
        now = statistics.median(self._timer(self._call, REFERENCE_CALLS))
        self._times = [*self._times[-REFERENCES_KEPT:], now]
        return now / sorted(self._times)[len(self._times) // 10]


def undisturbed_ms(call: Call, reference: LoadGuard, timer: Timer = wall_times_ms) -> float:
    """`visit_ms` of a try before and after which the machine was idle; see `MAX_TRIES`."""
    tries: list[tuple[float, float]] = []
    while len(tries) < MAX_TRIES:
        before = reference.slowed()
        ms = visit_ms(call, timer)
        tries.append((max(before, reference.slowed()), ms))
        if tries[-1][0] <= DISTURBED:
            break
    return min(tries)[1]


def subjects(job: dict[str, Any]) -> int:
    """How many things a job measures: layers, then networks, then the estimator of difficulty if it has a `image`."""
    return len(job["layers"]) + len(job["networks"]) + (job.get("image") is not None)


def visits(job: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """(round, subject) of everything to be measured: each round goes through all subjects in an order of its own."""
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
    """Measure what `record` doesn't hold yet; milliseconds of every subject (see `subjects`), one a round.

    `call_of` makes a subject ready, `advance` is called after each measurement. Raises ValueError where `record`
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
    """What `record` holds of a job, by (round, subject); a line that a kill tore off is cut away.

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
    """A finished job: everything a profile is made of."""
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
    """What the script of an emitted folder does: measure its job, show how far it is, write the result."""
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
    print(f"\n{options.out} is written; read it with: aebnas profile SPACE --import {shlex.quote(options.out.name)}")
