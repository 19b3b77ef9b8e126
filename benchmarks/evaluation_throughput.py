"""Candidates scored per second: in this process, with 1 and with 2 Ray workers, one thread each.

    python benchmarks/evaluation_throughput.py [--run results/quickstart] [--candidates 48] [--rounds 3]

Needs a run whose supernet is trained. Each round measures the three set-ups in turn, so that drift of the
machine affects all equally; the table gives medians, and ratios within a round. The start of Ray isn't included,
since a search starts it once.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from aebnas.evaluation.worker_pool import Failure, open_pool
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("results/quickstart"))
    parser.add_argument("--candidates", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    session = RunSession.open(options.run)
    evaluator = candidate_evaluator(session, trained_supernet(session))
    rng = np.random.default_rng(0)
    space = session.space
    architectures = [space.decode(space.sample(rng)).architecture for _ in range(options.candidates)]
    warm_up = architectures[:4]

    rates: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for _ in range(options.rounds):
        for workers, found in rates.items():
            with open_pool(evaluator, workers) as pool:
                list(pool.score(warm_up))
                started = time.perf_counter()
                outcomes = [outcome for _, outcome in pool.score(architectures)]
                found.append(len(outcomes) / (time.perf_counter() - started))
            assert not any(isinstance(outcome, Failure) for outcome in outcomes)

    print(f"{options.run}: {options.candidates} candidates, median of {options.rounds} rounds, 1 thread each")
    print(f"{'workers':<12}{'candidates/s':>14}{'of 1 worker':>14}")
    for workers, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, rates[1], strict=True))
        name = "in process" if workers == 0 else f"{workers} Ray"
        print(f"{name:<12}{statistics.median(found):>14.2f}{ratio:>14.2f}")


if __name__ == "__main__":
    main()
