"""Kills a run at random times, resumes it, and compares its front with that of an uninterrupted run.

    python benchmarks/kill_resume.py [--kills 20] [--seed 11] [--workers 0] [--retrain] [--out results/kill_resume]

A search on the digits that takes some seconds is run once without interruption. Then, `--kills` times, a new run is
started, its process group is sent SIGKILL at a random time within the reference's duration (one in each of as many
equal parts of it), and `aebnas resume` completes it (or the same command, where the kill came before the run's folder
was written). It is equal if its `pareto.csv` has the same bytes as the reference's. With `--retrain` the knee is
retrained after the search, kills may come then, too, and the retrained weights must be equal. With `--workers N` the
supernet is trained by one process and candidates are scored by N Ray actors.

The table lists what was on disk at the kill, and how much of that was missing afterwards. The CSV is written if `--out`
is given.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from aebnas.core.atomic_files import write_text

SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 10,
    "stem": {"width": 8},
    "stages": [
        {"width": [8, 12], "depth": [1, 2], "op": ["basic", "mbconv"], "kernel": [1, 3], "expand": 2},
        {"width": [12, 16], "depth": [1, 2], "stride": 2, "op": "basic"},
    ],
    "exits": {"depth": [0, 1], "layer": ["conv", "maxpool"]},
    "policy": {"criterion": ["confidence", "margin"], "thresholds": {"optimise": {"per_exit": 20, "max_points": 8}}},
}
# not `auto`, which is measured in each run: on a busy machine two runs may have different precisions
TRAINING: dict[str, Any] = {"recipe": "classic", "batch_size": 64, "lr": 35.2, "precision": "fp32"}
EXPERIMENT: dict[str, Any] = {
    "space": "space.yaml",
    "data": {"name": "digits", "splits": {"search": 0.2, "calibrate": 0.2, "certify": 0}},
    "supernet": TRAINING | {"epochs": 6},
    "evaluate": {"calibration_images": 256},
    "strategy": {"name": "nsga2", "population": 8, "generations": 4},
    "retrain": TRAINING | {"epochs": 6, "weights": "scratch", "lr": 8.8},
}
COMMAND = [sys.executable, "-c", "from aebnas.cli.main import main; main()"]


class Session:
    """Consecutive commands, in a process group of their own, that may be killed while they run."""

    def __init__(self, spec: Path, run: Path, retrain: bool) -> None:
        self.run, self.retrain = run, retrain
        self.search = ["search", str(spec), "--out", str(run)]
        self.knee = ["retrain", str(run), "--pick", "knee"]

    def commands(self) -> list[list[str]]:
        """The commands that complete the run from its present state."""
        first = ["resume", str(self.run)] if (self.run / "config.json").exists() else self.search
        return [first, self.knee] if self.retrain and not self.retrained() else [first]

    def retrained(self) -> list[Path]:
        """The weights of the knee, where its retraining has begun or is finished."""
        return list(self.run.glob("models/*/weights.safetensors")) + list(self.run.glob("models/*/unfinished.json"))

    def go(self, kill_after_s: float | None = None) -> bool:
        """Run all commands; returns whether the kill came before the end."""
        started = time.monotonic()
        for command in self.commands():
            left = None if kill_after_s is None else max(0.0, kill_after_s - (time.monotonic() - started))
            with subprocess.Popen(
                [*COMMAND, *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process:
                try:
                    printed, _ = process.communicate(timeout=left)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return True
            if process.returncode:
                raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{printed.decode()}")
        return False


def lines_of(file: Path) -> list[bytes]:
    """The complete lines of a file; none if it doesn't exist."""
    return file.read_bytes().split(b"\n")[:-1] if file.exists() else []


def phase_of(run: Path, trials: int) -> str:
    """The phase in which a run was killed, derived from its files."""
    if not (run / "config.json").exists():
        return "start"
    if not (run / "checkpoints" / "supernet.safetensors").exists():
        return "supernet"
    if trials < EXPERIMENT["strategy"]["population"] * EXPERIMENT["strategy"]["generations"]:
        return "search"
    if not (run / "report.html").exists():
        return "report"
    return "retraining" if list(run.glob("models/*/unfinished.json")) else "between commands"


def outcome_of(run: Path, retrain: bool) -> list[bytes]:
    """The files that must be equal: the front and, if retrained, the knee's weights."""
    files = [run / "pareto.csv", *(sorted(run.glob("models/*/weights.safetensors")) if retrain else [])]
    return [file.read_bytes() for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=11, help="seed of the times of the kills")
    parser.add_argument("--workers", type=int, default=0, help="Ray actors that score candidates")
    parser.add_argument("--retrain", action="store_true", help="retrain the knee, too")
    parser.add_argument("--out", type=Path, help="a folder for kill_resume.csv")
    options = parser.parse_args()

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="kill_resume-") as scratch:
        folder = Path(scratch)
        experiment = EXPERIMENT | {"evaluate": EXPERIMENT["evaluate"] | {"workers": options.workers}}
        (folder / "space.yaml").write_text(json.dumps(SPACE), encoding="utf-8")
        spec = folder / "spec.yaml"
        spec.write_text(json.dumps(experiment), encoding="utf-8")

        started = time.monotonic()
        reference = Session(spec, folder / "reference", options.retrain)
        reference.go()
        whole_s = time.monotonic() - started
        expected = outcome_of(reference.run, options.retrain)
        print(f"the reference takes {whole_s:.1f} s; {len(expected[0].splitlines()) - 1} points on its front")
        print(f"{'kill':>4} {'at s':>6}  {'phase':<16} {'epochs':>6} {'trials':>6} {'lost':>9} {'resumed s':>9}  equal")

        rng = random.Random(options.seed)
        for kill in range(options.kills):
            share = (kill + rng.random()) / options.kills
            while True:
                moment_s = share * whole_s
                session = Session(spec, folder / f"kill{kill + 1}", options.retrain)
                started = time.monotonic()
                if session.go(kill_after_s=moment_s):
                    break
                whole_s = time.monotonic() - started  # the machine is less busy than before
                shutil.rmtree(session.run)
            epochs = lines_of(session.run / "train_epoch_metrics.csv")
            trials = lines_of(session.run / "trials.jsonl")
            phase = phase_of(session.run, len(trials))
            started = time.monotonic()
            session.go()
            row = {
                "kill": kill + 1,
                "moment_s": round(moment_s, 2),
                "phase": phase,
                # two rows per epoch below a header: the largest and the smallest subnet
                "epochs": max(0, len(epochs) - 1) // 2,
                "trials": len(trials),
                "epochs_lost": len(set(epochs) - set(lines_of(session.run / "train_epoch_metrics.csv"))) // 2,
                "trials_lost": len(set(trials) - set(lines_of(session.run / "trials.jsonl"))),
                "resumed_s": round(time.monotonic() - started, 1),
                "equal": outcome_of(session.run, options.retrain) == expected,
            }
            rows.append(row)
            lost = f"{row['epochs_lost']} + {row['trials_lost']}"
            print(
                f"{row['kill']:>4} {moment_s:>6.1f}  {phase:<16} {row['epochs']:>6} {row['trials']:>6} {lost:>9} "
                f"{row['resumed_s']:>9}  {'yes' if row['equal'] else 'NO'}",
                flush=True,
            )
    if options.out is not None:
        write_text(options.out / "kill_resume.csv", pd.DataFrame(rows).to_csv(index=False))
    equal = sum(row["equal"] for row in rows)
    print("lost: epochs + trials that were on disk at the kill")
    print(f"EQUAL {equal} OF {options.kills}")
    sys.exit(equal < options.kills)


if __name__ == "__main__":
    main()
