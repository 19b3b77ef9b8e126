"""Kills the Ray workers of a search at random, every few seconds, and compares its trials with an undisturbed run's.

    python benchmarks/killed_workers.py [--generations 25] [--every 4] [--seed 11] [--out results/killed_workers]

A search on the digits, 40 trials a generation, is run once in one process. Then it is run with two Ray workers. From
the start of the search on, one of the workers' processes, chosen at random, is sent SIGKILL after a random pause of
half to one and a half times `--every` seconds, whatever it does: start, score, or wait. `--every` must leave workers
the time to start, which takes some 4 seconds of CPU time.

Every trial of the undisturbed run must be recorded once, with the same content except its seconds, and the front must
have the same bytes. The row states how many candidates lost a worker and were scored again. It is written as CSV if
`--out` is given. Linux only: processes are found in /proc.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from kill_resume import COMMAND, EXPERIMENT, SPACE

from aebnas.core.atomic_files import write_text

POPULATION = 40
WORKERS = 2
LARGER: dict[str, Any] = SPACE | {
    "stages": [
        {"width": [8, 12, 16], "depth": [1, 2], "op": ["basic", "mbconv"], "kernel": [1, 3], "expand": 2},
        {"width": [12, 16, 24], "depth": [1, 2], "stride": 2, "op": ["basic", "mbconv"], "expand": 2},
    ]
}


def search(spec: Path, run: Path, mark: str) -> "subprocess.Popen[str]":
    """The started search; its processes have `mark` in their environment."""
    with (run.parent / f"{run.name}.log").open("w") as log:
        return subprocess.Popen(
            [*COMMAND, "search", str(spec), "--out", str(run)],
            env=os.environ | {"AEBNAS_BENCHMARK": mark},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def workers_of(mark: str) -> list[int]:
    """The process ids of the Ray workers of a search."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            marked = folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes()
            if marked and (folder / "cmdline").read_bytes().startswith(b"ray::_Worker"):
                found.append(int(folder.name))
        except OSError:  # it has ended, or belongs to someone else
            continue
    return sorted(found)


def disturb(process: "subprocess.Popen[str]", mark: str, every_s: float, rng: random.Random) -> int:
    """Kill workers at random until the search ends; returns how many were killed."""
    kills = 0
    while True:
        try:
            process.wait(timeout=every_s * rng.uniform(0.5, 1.5))
            return kills
        except subprocess.TimeoutExpired:
            if workers := workers_of(mark):
                try:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    continue


def trials_of(run: Path) -> list[dict[str, Any]]:
    """The trials on disk without their seconds, sorted by number."""
    lines = (run / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted((json.loads(line) | {"seconds": 0} for line in lines), key=lambda trial: trial["number"])


def finish(process: "subprocess.Popen[str]", run: Path) -> str:
    """What the search printed; raises RuntimeError where it failed."""
    process.wait()
    printed = (run.parent / f"{run.name}.log").read_text()
    if process.returncode:
        raise RuntimeError(f"{run.name}: exit code {process.returncode}\n{printed[-3000:]}")
    return printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=25, help=f"of {POPULATION} trials")
    parser.add_argument("--every", type=float, default=4.0, help="mean seconds between two kills")
    parser.add_argument("--seed", type=int, default=11, help="seed of the kills")
    parser.add_argument("--out", type=Path, help="a folder for killed_workers.csv")
    options = parser.parse_args()

    strategy = {"name": "nsga2", "population": POPULATION, "generations": options.generations}
    with tempfile.TemporaryDirectory(prefix="killed_workers-") as scratch:
        folder, seconds = Path(scratch), {}
        (folder / "space.yaml").write_text(json.dumps(LARGER), encoding="utf-8")
        runs = {"undisturbed": 0, "disturbed": WORKERS}
        for name, workers in runs.items():
            experiment = EXPERIMENT | {"strategy": strategy, "evaluate": EXPERIMENT["evaluate"] | {"workers": workers}}
            spec, mark = folder / f"{name}.yaml", uuid.uuid4().hex
            spec.write_text(json.dumps(experiment), encoding="utf-8")
            started = time.monotonic()
            process = search(spec, folder / name, mark)
            kills = disturb(process, mark, options.every, random.Random(options.seed))
            printed = finish(process, folder / name)
            seconds[name] = round(time.monotonic() - started, 1)
            print(f"{name}: {seconds[name]} s", flush=True)
        expected, found = (trials_of(folder / name) for name in runs)
        fronts = [(folder / name / "pareto.csv").read_bytes() for name in runs]

    numbers = Counter(trial["number"] for trial in found)
    status = Counter(trial["status"] for trial in found)
    by_number = {trial["number"]: trial for trial in found}
    row = {
        "trials": len(expected),
        "every_s": options.every,
        "kills": kills,
        "scored_again": printed.count("note: a candidate is scored again"),
        "ok": status["ok"],
        "infeasible": status["infeasible"],
        "failed": status["failed"],
        "lost": sum(trial["number"] not in numbers for trial in expected),
        "recorded_twice": sum(count > 1 for count in numbers.values()),
        "equal_trials": sum(trial == by_number.get(trial["number"]) for trial in expected),
        "equal_front": fronts[0] == fronts[1],
        **{f"{name}_s": spent for name, spent in seconds.items()},
    }
    print("\n".join(f"{name:<16} {value}" for name, value in row.items()))
    if options.out is not None:
        write_text(options.out / "killed_workers.csv", pd.DataFrame([row]).to_csv(index=False))
    sys.exit(row["equal_trials"] < len(expected) or found != expected or not row["equal_front"])


if __name__ == "__main__":
    main()
