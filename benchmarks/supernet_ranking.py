"""Whether the supernet ranks architectures as separate training does: Kendall's tau with a bootstrap interval.

    python benchmarks/supernet_ranking.py [--run results/cifar10_mini] [--architectures 24] [--epochs 10]

Draws random architectures, scores each with inherited weights, trains each separately from scratch (the
spec's `retrain` settings, fewer epochs) and compares accuracies on the search split: of the last exit, and of
the whole network at the reference policy (confidence > 0.9). Architectures are trained in parallel, one thread
each. Rows are written as they are finished, so a stopped benchmark resumes when started again.
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import kendalltau

from aebnas.core.atomic_files import write_text
from aebnas.core.progress import progress_bar
from aebnas.cost.counts import count_graph
from aebnas.evaluation.evaluator import inherit
from aebnas.policies.exit_table.tabulate import tabulate
from aebnas.run.events import RunEvents
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet
from aebnas.runtime.network import Network
from aebnas.selected.retrain import clear_training, train_separately
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.training.training_spec import RetrainSpec
from aebnas.training.validation import REFERENCE_CRITERION, exit_rows

RESAMPLES = 10_000
COLUMNS = {"last": "the last exit", "policy": "the network at confidence > 0.9"}


def measure(session: RunSession, network: Network) -> dict[str, float]:
    """Accuracies of a network on the search split."""
    table = tabulate(network, session.images.splits.search, session.images.preprocessing, [REFERENCE_CRITERION])
    row = exit_rows(table)
    return {"last": row[f"exit{table.exits}_accuracy"], "policy": row["accuracy_at_0.9"]}


def train_and_measure(run: Path, architecture: Architecture, epochs: int) -> dict[str, Any]:
    """Measure an architecture with inherited weights and trained from scratch; returns a row of the result file."""
    torch.set_num_threads(1)
    session = RunSession.open(run)
    calibration = session.images.calibration(session.experiment.evaluate.calibration_images)
    inherited = inherit(trained_supernet(session), architecture, calibration)
    changes = {"epochs": epochs, "weights": "scratch", "validate_every": epochs}
    spec = RetrainSpec.model_validate(session.experiment.retrain.model_dump() | changes)
    started, name = time.monotonic(), f"ranking-{architecture.id}"
    trained = train_separately(session, architecture, spec, name, RunEvents(session.facts))
    row: dict[str, Any] = {"architecture": architecture.id, "epochs": epochs}
    row["macs"] = count_graph(lower(architecture)).macs.total
    for name, network in (("inherited", inherited), ("trained", trained)):
        row |= {f"{name}_{key}": value for key, value in measure(session, network).items()}
    clear_training(session, name)
    return row | {"train_seconds": round(time.monotonic() - started, 1)}


def tau_with_interval(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Kendall's tau-b and its 95 % percentile-bootstrap interval over architectures."""
    drawn = rng.integers(0, len(a), (RESAMPLES, len(a)))
    taus = [kendalltau(a[index], b[index]).statistic for index in drawn]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return float(kendalltau(a, b).statistic), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("results/cifar10_mini"))
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()

    session = RunSession.open(options.run)
    rng = np.random.default_rng(options.seed)
    selected: dict[str, Architecture] = {}
    while len(selected) < options.architectures:
        architecture = session.space.decode(session.space.sample(rng)).architecture
        selected[architecture.id] = architecture

    out = options.run / "supernet_ranking.csv"
    found = pd.read_csv(out).to_dict("records") if out.exists() else []
    rows = [row for row in found if row["epochs"] == options.epochs and row["architecture"] in selected]
    done = {row["architecture"] for row in rows}
    context = multiprocessing.get_context("spawn")  # torch's threads don't survive a fork
    with (
        progress_bar("ranking", len(selected), len(done)) as bar,
        ProcessPoolExecutor(options.workers, mp_context=context) as workers,
    ):
        jobs = [
            workers.submit(train_and_measure, options.run, architecture, options.epochs)
            for architecture in selected.values()
            if architecture.id not in done
        ]
        for job in as_completed(jobs):
            rows.append(job.result())
            write_text(out, pd.DataFrame(rows).to_csv(index=False))
            bar.advance()

    table = pd.DataFrame(rows)
    samples = len(session.images.splits.search)
    print(f"{options.run}: {len(table)} architectures, {options.epochs} epochs each, search split N = {samples}")
    print(f"{'accuracy of':<34}{'inherited':>12}{'trained':>10}{'tau':>8}{'95 % interval':>18}")
    for name, label in COLUMNS.items():
        inherited, trained = table[f"inherited_{name}"].to_numpy(), table[f"trained_{name}"].to_numpy()
        tau, low, high = tau_with_interval(inherited, trained, np.random.default_rng(0))
        means = f"{100 * inherited.mean():>10.1f} %{100 * trained.mean():>8.1f} %"
        print(f"{label:<34}{means}{tau:>8.2f}{f'{low:.2f} to {high:.2f}':>18}")
    tau, low, high = tau_with_interval(table["macs"].to_numpy(), table["trained_last"].to_numpy(), rng)
    print(f"{'MACs against trained last exit':<56}{tau:>8.2f}{f'{low:.2f} to {high:.2f}':>18}")


if __name__ == "__main__":
    main()
