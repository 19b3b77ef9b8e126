"""Evaluation of many threshold vectors at once compared with one after another: seconds, memory, and their ratio.

    python benchmarks/policies.py [--vectors 100000] [--samples 10000] [--exits 4] [--plain 100000]

The vectors are arbitrary, not on a grid: values in [0, 1], scores that occur, and never. Each is evaluated by
`ThresholdProblem.evaluate` and by plain numpy, one vector after another; accuracies and costs must be bitwise equal.
A second loop is as fast as numpy allows (columns, counts instead of indices) and timed on fewer vectors. Seconds are
CPU seconds of one thread, so that other load on the machine has no effect. The last line is the ratio to the plain
loop.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np

from aebnas.cost.exit_costs import ExitCosts
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

REPEATS = 5
TIGHT_VECTORS = 2000


def make_table(samples: int, exits: int, rng: np.random.Generator) -> ThresholdProblem:
    """Scores equal to the probability of a correct prediction, correlated between exits."""
    hardness = rng.normal(size=(samples, 1)) * 1.5
    logits = hardness + rng.normal(size=(samples, exits)) * 0.6 + np.linspace(-0.5, 1.0, exits)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    correct = rng.random((samples, 1)) < 0.1 + 0.9 * scores
    backbone = np.cumsum(rng.integers(1_000_000, 5_000_000, exits)).tolist()
    branch = rng.integers(10_000, 400_000, exits).tolist()
    costs = ExitCosts(tuple(backbone), tuple(branch))
    return ThresholdProblem(scores[:, :-1], correct, costs, partial(ExitPolicy, "confidence"))


def make_vectors(table: ThresholdProblem, count: int, rng: np.random.Generator) -> np.ndarray:
    """Threshold vectors `[t, k]`: 70 % of thresholds uniform in [0, 1], 20 % a score that occurs, 10 % never."""
    kind = rng.random((count, table.early))
    observed = rng.choice(table.scores_nk.reshape(-1), kind.shape)
    drawn = np.where(kind < 0.7, rng.random(kind.shape), np.where(kind < 0.9, observed, np.inf))
    return drawn.astype(np.float32)


def plain(table: ThresholdProblem, thresholds_k: np.ndarray) -> tuple[int, float]:
    """Number of correct predictions and mean MACs of one vector, directly from the definition."""
    stops = np.ones((table.samples, table.early + 1), dtype=bool)
    stops[:, :-1] = table.scores_nk > thresholds_k
    taken = stops.argmax(axis=1)
    runs = np.append(np.isfinite(thresholds_k), True)
    cost = table.costs.to_exit(runs)[taken]
    return int(table.correct_ne[np.arange(table.samples), taken].sum()), float(cost.sum() / table.samples)


def tight(columns: list[np.ndarray], right: list[np.ndarray], thresholds_k: np.ndarray) -> tuple[int, list[int]]:
    """Numbers of correct predictions and of samples that leave at each early exit, without avoidable copies."""
    running, total, counts = np.ones(len(columns[0]), dtype=bool), 0, []
    for column, correct, threshold in zip(columns, right[:-1], thresholds_k, strict=True):
        leaves = column > threshold
        leaves &= running
        counts.append(np.count_nonzero(leaves))
        running ^= leaves
        leaves &= correct
        total += np.count_nonzero(leaves)
    running &= right[-1]
    return total + np.count_nonzero(running), counts


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--exits", type=int, default=4)
    parser.add_argument("--plain", type=int, help="vectors given to the plain loop (all); its time is scaled up")
    options = parser.parse_args()

    rng = np.random.default_rng(2026)
    table = make_table(options.samples, options.exits, rng)
    vectors = make_vectors(table, options.vectors, rng)
    measured = min(options.plain or options.vectors, options.vectors)
    print(f"{options.vectors} threshold vectors, {options.samples} samples, {options.exits} exits, one thread")

    started = time.process_time()
    one_by_one = [plain(table, vector) for vector in vectors[:measured]]
    plain_s = (time.process_time() - started) * options.vectors / measured
    note = "" if measured == options.vectors else f" (scaled up from {measured} vectors)"
    print(f"plain numpy, one after another: {plain_s:.2f} s{note}")

    columns = list(np.ascontiguousarray(table.scores_nk.T))
    right = list(np.ascontiguousarray(table.correct_ne.T))
    few = vectors[:TIGHT_VECTORS]
    tight_s = cpu_seconds(lambda: [tight(columns, right, vector) for vector in few]) * options.vectors / len(few)
    print(f"a tight numpy loop: {tight_s:.2f} s (scaled up from {len(few)} vectors)")

    found = table.evaluate(vectors)
    at_once_s = sorted(cpu_seconds(lambda: table.evaluate(vectors)) for _ in range(REPEATS))
    median_s = at_once_s[REPEATS // 2]
    print(f"all at once: {median_s:.3f} s (median of {REPEATS}: {at_once_s[0]:.3f} to {at_once_s[-1]:.3f})")

    tracemalloc.start()
    table.evaluate(vectors)
    print(f"peak memory of all at once: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB")
    tracemalloc.stop()

    right_t, cost_t = (np.array(values) for values in zip(*one_by_one, strict=True))
    same = np.array_equal(right_t, found.right_t[:measured]) and np.array_equal(cost_t, found.cost_t[:measured])
    if not same:
        raise SystemExit("accuracies or costs differ from those of the plain loop")
    print(f"accuracy and cost of {measured} vectors: equal to the last bit")
    print(f"ratio to the tight loop: {tight_s / median_s:.1f}")
    print(f"RATIO {plain_s / median_s:.1f}")


if __name__ == "__main__":
    main()
