"""A search of 20,000 trials: what a trial costs besides its evaluation, memory, the report's size, and resuming it.

    python benchmarks/many_trials.py [--trials 20000] [--out results/many_trials]

The search is a real one (loop, NSGA-II, run folder, front, live line, plot and page) in the space of the CIFAR-10
example. Only the evaluation of a candidate is replaced by one that takes milliseconds: 20 operating points with the
network's true MACs and made-up accuracies. What an evaluation takes is measured after that, on random candidates with
the real evaluator and as many random images of that size as the example has.

"Bookkeeping" is the time between two evaluations: proposing candidates, writing each trial to disk (flushed), the
front and its files, the live line. Ratios are of CPU seconds, which other processes on the machine change little, and
times of commands are CPU seconds, too. Both tables are written as CSV if `--out` is given.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from aebnas.core.atomic_files import write_json, write_text
from aebnas.cost.counts import count_graph
from aebnas.evaluation.evaluator import Evaluator, Scored
from aebnas.evaluation.operating_points import make_trial
from aebnas.report.run_report import RunReport
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.run_config import RunConfig
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts
from aebnas.run.session import RunSession
from aebnas.run.training_setup import new_supernet
from aebnas.run.weight_files import save_weights
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.search.plan import Plan, make_plan
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.strategies.nsga2 import Nsga2
from aebnas.strategies.strategy import Job
from aebnas.strategies.trial import OperatingPoint, Trial
from aebnas.training.compute.compute_meter import ComputeMeter

SPACE = Path(__file__).parents[1] / "search_spaces" / "resnet_cifar.yaml"
POPULATION = 100
POINTS = 20
REAL_CANDIDATES = 16
LOOP: Any = importlib.import_module("aebnas.search.loop")  # `aebnas.search` is a function of the API, too
CODE = """import sys
from aebnas.cli.main import app
app(sys.argv[1:], standalone_mode=False)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""
MIB = 1 << 20

spent = {"evaluation": 0.0, "evaluation_cpu": 0.0, "strategy_cpu": 0.0}
"""Seconds so far in replaced evaluations (also CPU seconds), and in proposing candidates and learning from trials."""


class Replaced(Evaluator):
    """An evaluator that scores nothing: `made_up_trial` needs no tables."""

    def score(self, architecture: Architecture, compute: ComputeMeter | None = None) -> Scored:
        """No tables."""
        return Scored({}, None, 0.0)


def made_up_trial(number: int, job: Job, outcome: object, *others: object) -> Trial:
    """A trial of POINTS operating points, in the place of `operating_points.make_trial`."""
    started, cpu_started = time.perf_counter(), time.process_time()
    architecture = job.architecture
    rng = np.random.default_rng(int(architecture.id, 16) % 2**63)
    counts = count_graph(lower(architecture)).macs
    to_exit_e = np.array(counts.to_exit(), dtype=float)
    exits = len(to_exit_e)
    accuracy_e = np.clip(0.95 - 0.5 * (to_exit_e / 2e6) ** -0.4 + rng.normal(0, 0.01, exits), 0.1, 0.99)
    points = []
    for _ in range(POINTS if exits > 1 else 1):
        shares_e = rng.dirichlet(np.ones(exits))
        accuracy = round(float(shares_e @ accuracy_e) * 500) / 500
        macs = float(shares_e @ to_exit_e)
        metrics = {"accuracy": accuracy, "avg_macs": macs, "avg_macs_taken_only": macs}
        metrics |= {"macs": float(to_exit_e[-1]), "params": float(to_exit_e[-1] // 100)}
        policy = ExitPolicy("confidence", tuple(float(t) for t in rng.random(exits - 1)))
        shares = tuple(float(share) for share in shares_e)
        points.append(OperatingPoint(architecture.id, policy, metrics, shares, tuple(map(float, accuracy_e))))
    seconds = time.perf_counter() - started
    spent["evaluation"] += seconds
    spent["evaluation_cpu"] += time.process_time() - cpu_started
    return Trial(number, architecture, job.policy, "ok", tuple(points), "", job.origin, seconds)


class Timed(Nsga2):
    """NSGA-II whose time is recorded."""

    def ask(self) -> Any:
        """See `Strategy`."""
        return self._timed(super().ask)

    def tell(self, trials: Any) -> None:
        """See `Strategy`."""
        self._timed(lambda: super(Timed, self).tell(trials))

    def _timed(self, call: Any) -> Any:
        started = time.process_time()
        result = call()
        spent["strategy_cpu"] += time.process_time() - started
        return result


class Recorder(RunReport):
    """The command line's listener, which also records time and memory after every thousandth trial."""

    rows: ClassVar[list[dict[str, Any]]] = []
    count = 0

    def search_started(self) -> None:
        """See `RunReport`."""
        super().search_started()
        self.last = time.perf_counter(), time.process_time(), dict(spent)

    def trial_finished(self, trial: Trial, is_new: bool) -> str:
        """See `RunReport`."""
        line = super().trial_finished(trial, is_new)
        Recorder.count += 1
        if Recorder.count % 1000 == 0:
            now, (then, cpu_then, before) = time.perf_counter(), self.last
            evaluation, evaluation_cpu, strategy_cpu = (spent[name] - before[name] for name in spent)
            row = {
                "trials": Recorder.count,
                "bookkeeping_ms": round(now - then - evaluation, 6),  # of 1,000 trials in s: of one in ms
                "bookkeeping_cpu_ms": round(time.process_time() - cpu_then - evaluation_cpu, 6),
                "of_which_strategy_cpu_ms": round(strategy_cpu, 6),
                "front_points": self._live.growth.size if self._live else 0,
                "resident_mib": round(resident() / MIB, 1),
            }
            Recorder.rows.append(row)
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            self.last = time.perf_counter(), time.process_time(), dict(spent)
        return line


def resident() -> int:
    """Bytes of this process's memory that are in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def write_specs(folder: Path, trials: int) -> Path:
    """The example's spec with random images; returns the file of the experiment."""
    rng = np.random.default_rng(11)
    sizes = {"train": 5000, "test": 100}
    images = {f"x_{name}": rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for name, n in sizes.items()}
    labels = {f"y_{name}": np.arange(n) % 10 for name, n in sizes.items()}
    np.savez(folder / "random.npz", **images, **labels)
    experiment = {
        "space": str(SPACE),
        "data": {"name": "npz", "path": "random.npz", "splits": {"search": 0.1, "calibrate": 0.05, "certify": 0.05}},
        "supernet": {"epochs": 1, "batch_size": 64, "recipe": "classic", "lr": 70.4},
        "retrain": {"epochs": 1, "batch_size": 64, "recipe": "classic", "lr": 17.6},
        "strategy": {"name": "nsga2", "population": POPULATION, "generations": trials // POPULATION},
    }
    (folder / "spec.yaml").write_text(json.dumps(experiment), encoding="utf-8")
    return folder / "spec.yaml"


def real_evaluation_s(session: RunSession) -> float:
    """Median CPU seconds of evaluating a random candidate: its tables and its operating points."""
    evaluator = candidate_evaluator(session, new_supernet(session))
    rng, space, times = np.random.default_rng(11), session.space, []
    for number in range(REAL_CANDIDATES):
        job = Job(space.decode(space.sample(rng)).architecture, None, "random")
        started = time.process_time()
        tables = evaluator.score(job.architecture).tables
        make_trial(number, job, tables, space.spec, (), None, 0.0)
        times.append(time.process_time() - started)
    return statistics.median(times)


def command(*words: object) -> tuple[float, float]:
    """CPU seconds and peak memory (MiB) of a command of the command line, in a process of its own."""
    before = os.times()
    ended = subprocess.run([sys.executable, "-c", CODE, *map(str, words)], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{words[0]}: exit code {ended.returncode}: {ended.stderr}")
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return round(cpu_s, 1), round(int(ended.stderr.split()[-1]) / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20_000, help="a multiple of 1,000")
    parser.add_argument("--out", type=Path, help="a folder for many_trials.csv and summary.json")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="many_trials-") as scratch:
        folder = Path(scratch) / "runs" / "many"
        spec = write_specs(Path(scratch), options.trials)
        plan = make_plan(spec, folder)
        session = RunSession.open(start(plan))
        LOOP.make_trial = made_up_trial
        LOOP.candidate_evaluator = lambda *given: Replaced(**vars(candidate_evaluator(*given)))
        LOOP.make_strategy = make_timed(LOOP.make_strategy)
        started = time.perf_counter()
        LOOP.run_plan(plan, Recorder)
        search_s = time.perf_counter() - started
        started = time.process_time()
        RunReport(RunFacts.read(folder)).search_finished()
        report_s = time.process_time() - started
        real_s = real_evaluation_s(session)  # last, since it needs more memory than the search

        rows = pd.DataFrame(Recorder.rows)
        first, last = rows.bookkeeping_cpu_ms.iloc[0], rows.bookkeeping_cpu_ms.iloc[-1]
        by_command = {
            "list": command("list", folder.parent),
            "show": command("show", folder),
            "resume": command("resume", folder),
        }
        kept_mib = rows.set_index("trials").resident_mib
        figures = {
            "trials": int(rows.trials.iloc[-1]),
            "evaluation_cpu_ms": round(1000 * real_s, 1),
            "bookkeeping_cpu_ms_first_1000": round(first, 3),
            "bookkeeping_cpu_ms_last_1000": round(last, 3),
            "bookkeeping_ms_mean": round(float(rows.bookkeeping_ms.mean()), 3),
            "last_to_first": round(last / first, 2),
            "share_of_a_trial": round(float(rows.bookkeeping_cpu_ms.mean()) / (1000 * real_s), 4),
            "share_of_a_trial_last_1000": round(last / (1000 * real_s), 4),
            "front_points": int(rows.front_points.iloc[-1]),
            "trials_file_mib": round((folder / "trials.jsonl").stat().st_size / MIB, 1),
            **{f"resident_mib_{n}": float(kept_mib[n]) for n in (1000, 5000, 10_000, 20_000) if n in kept_mib},
            "report_mib": round((folder / "report.html").stat().st_size / MIB, 2),
            "report_cpu_s": round(report_s, 1),
            "search_s": round(search_s, 1),
        }
        for name, (seconds, peak_mib) in by_command.items():
            figures |= {f"{name}_cpu_s": seconds, f"{name}_peak_mib": peak_mib}
    print("\n".join(f"{name:<28} {value}" for name, value in figures.items()))
    if options.out is not None:
        write_text(options.out / "many_trials.csv", rows.to_csv(index=False))
        write_json(options.out / "summary.json", figures)


def start(plan: Plan) -> Path:
    """The folder of the planned run, with an untrained supernet in the place of a trained one."""
    session = RunSession(Run(plan.folder), plan.experiment, plan.space, plan.base, plan.spec_file)
    save_weights(new_supernet(session), session.run.supernet_weights)
    config = RunConfig(plan.experiment, plan.space, plan.base).to_json(plan.folder, None)
    Run.start(plan.folder, config)
    return plan.folder


def make_timed(make_strategy: Any) -> Any:
    """`make_strategy`, whose NSGA-II records its time."""

    def make(*given: Any) -> Any:
        strategy = make_strategy(*given)
        strategy.__class__ = Timed
        return strategy

    return make


if __name__ == "__main__":
    main()
