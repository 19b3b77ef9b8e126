"""Accuracy of several networks at a budget of average MACs after equal training minutes: one table, one plot.

    pip install -e ".[benchmarks]"
    python benchmarks/equal_minutes.py [--run results/cifar10_cpu] [--pick "avg_macs<=16e6"] [--minutes 20]

Trains, from scratch and by one loop with one recipe: the searched network, the same with early exits trained only in
the second half, a hand-made three-exit ResNet, the searched backbone without exits, and the CIFAR ResNet-20 of the PyPI
package earlyon. A minute is a minute of CPU time of one thread, so that other load on the machine has no effect; each
contender trains for the whole epochs that fit into the minutes (rounded up for all but ours). The recipe and the
weights of the exits' losses are those of the run's `retrain:`; earlyon has its own weights. Thresholds are found on
`calibrate`, results are measured on the test set. Contenders train in parallel, one thread each; started again, the
benchmark resumes from the last epoch.
"""

import argparse
import copy
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from contenders import CONTENDERS, Contender
from matplotlib import pyplot as plt
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from aebnas.core.atomic_files import write_atomically, write_json, write_text
from aebnas.data.batches import Batches, eval_batches
from aebnas.data.datasets import load_test
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.find import find
from aebnas.report.palette import BLUE, GREEN, PURPLE, SKY, VERMILION
from aebnas.run.session import RunSession
from aebnas.space.architecture import Architecture
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec
from aebnas.training.compute.layer_flop import module_flop
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec
from aebnas.training.exits.exit_weights import mask_inactive
from aebnas.training.loop import fit
from aebnas.training.losses import self_distillation_loss
from aebnas.training.precision import computing_dtype
from aebnas.training.task import Row
from aebnas.training.training_spec import TrainSpec

BUDGETS_MACS = (8e6, 12e6, 16e6, 20e6)
CRITERIA = ("confidence", "entropy")
OURS = ("searched", "late exits")
PER_EXIT, EVAL_BATCH, TIMED_STEPS, NORM_IMAGES = 40, 500, 15, 4096
COLOURS = {
    "searched": BLUE,
    "late exits": SKY,
    "hand-made": VERMILION,
    "without exits": GREEN,
    "earlyon": PURPLE,
}


class JointTask:
    """All exits with the contender's loss weights, early ones once they are active; the last exit is the teacher."""

    def __init__(self, contender: Contender, spec: TrainSpec) -> None:
        self.module, self.spec = contender.module, spec
        self.weights = self.all_weights = list(contender.loss_weights)
        self.images = 0
        self.per_image: int | None = None
        self.graph = None
        self.exits = ExitTrainingSpec(backbone_first=contender.last_only_share)

    def begin_epoch(self, epoch: int) -> None:
        """Nothing to set."""

    def begin_step(self, progress: float) -> None:
        self.weights = mask_inactive(self.all_weights, self.exits.active(progress, len(self.all_weights)))

    def step(self, scaler: torch.amp.GradScaler) -> None:
        """Nothing to step besides what the loop steps."""

    def losses(self, x_nchw: Tensor, labels_n: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        spec, self.images = self.spec, len(x_nchw)
        if self.per_image is None:
            self.per_image = module_flop(self.module, x_nchw.shape[1:])
        logits = self.module(x_nchw)
        yield self_distillation_loss(logits, labels_n, self.weights, spec.label_smoothing, spec.distillation)

    def flop(self) -> float:
        return float(self.images * (self.per_image or 0))

    def validate(self, module: nn.Module) -> list[Row]:
        return []


def step_seconds(contender: Contender, batches: Batches, spec: TrainSpec) -> float:
    """Median CPU seconds of a training step, on a copy."""
    task = JointTask(Contender(copy.deepcopy(contender.module), contender.macs, contender.loss_weights), spec)
    module = task.module.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    precision = computing_dtype(spec.precision, torch.device("cpu"))
    taken, rng, started = [], np.random.default_rng(0), time.process_time()
    for x_nchw, labels_n in islice(batches.epoch(torch.Generator().manual_seed(0)), TIMED_STEPS):
        optimiser.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = next(task.losses(x_nchw, labels_n, rng))
        loss.backward()
        optimiser.step()
        taken.append(time.process_time() - started)
        started = time.process_time()
    return float(np.median(taken))


def train(run: Path, name: str, architecture_json: dict[str, Any], minutes: float, out: Path) -> dict[str, Any]:
    """Train one contender and write its row and its frontier on the test set."""
    torch.set_num_threads(1)
    session = RunSession.open(run)
    seed = session.experiment.seed
    recipe = session.experiment.retrain
    contender = CONTENDERS[name](Architecture.from_json(architecture_json), recipe.exit_weights, seed)
    work = out / "checkpoints" / name.replace(" ", "-")
    work.mkdir(parents=True, exist_ok=True)
    base = recipe.model_dump(exclude={"weights"})
    batches = session.images.training_batches(base["batch_size"])
    state = work / "state.json"
    if not state.exists():  # measured once, so that a resumed training has the same schedule
        spec = TrainSpec.model_validate(base | {"epochs": 1})
        epochs = minutes * 60 / (step_seconds(contender, batches, spec) * len(batches))
        whole = math.floor(epochs) if name in OURS else math.ceil(epochs)
        write_json(state, {"epochs": max(1, whole), "cpu_s": 0})
    known = json.loads(state.read_text())
    epochs, before = known["epochs"], known["cpu_s"]
    spec = TrainSpec.model_validate(base | {"epochs": epochs, "validate_every": epochs})
    started = time.process_time()

    def note_time(rows: list[Row]) -> None:
        """Called when training begins and after each epoch."""
        write_json(state, {"epochs": epochs, "cpu_s": before + time.process_time() - started})

    trained = fit(JointTask(contender, spec), batches, spec, seed, name, work / "checkpoint.pt", note_time)
    cpu_minutes = json.loads(state.read_text())["cpu_s"] / 60
    update_bn(session.images.calibration(NORM_IMAGES), trained)
    trained.eval()
    test = load_test(session.experiment.data, session.base)
    calibrate_table = tabulated(trained, contender, session, session.images.splits.calibrate)
    test_table = tabulated(trained, contender, session, test)
    tuned = find(calibrate_table, PolicySpec(criterion=CRITERIA), OptimiseSpec(per_exit=PER_EXIT))
    row: dict[str, Any] = {"network": name, "epochs": epochs, "cpu_minutes": round(cpu_minutes, 2)}
    row["exits_mmacs"] = " ".join(f"{v / 1e6:.1f}" for v in to_exits(contender))
    row["exits_test_accuracy"] = " ".join(f"{100 * v:.2f}" for v in test_table.correct_ne.mean(0))
    for budget in BUDGETS_MACS:
        scored = score_policy(test_table, tuned.within(budget).policy)
        fits = tuned.within(budget).cost <= budget
        row[f"accuracy_at_{budget / 1e6:g}M"] = round(100 * scored.accuracy, 2) if fits else None
        row[f"avg_macs_at_{budget / 1e6:g}M"] = round(scored.avg_macs) if fits else None
    curve = [score_policy(test_table, point.policy) for point in tuned.thinned(200).points]
    points = [[scored.avg_macs, scored.accuracy] for scored in curve]
    write_json(work / "result.json", {"row": row, "curve": sorted(points)})
    return row


def tabulated(trained: nn.Module, contender: Contender, session: RunSession, images: Any) -> ExitTable:
    """The ExitTable of a trained module."""
    logits, labels = [], []
    with torch.inference_mode():
        for x_nchw, labels_n in eval_batches(images, session.images.preprocessing, EVAL_BATCH):
            logits.append(torch.stack(list(trained(x_nchw)), 1))
            labels.append(labels_n)
    return ExitTable.from_logits(torch.cat(logits), torch.cat(labels), CRITERIA, {"macs": contender.macs})


def to_exits(contender: Contender) -> np.ndarray:
    """MACs of a sample that leaves at each exit, all branches before it included, `[e]`."""
    return contender.macs.to_exit(np.ones(len(contender.loss_weights), bool))


def draw(results: dict[str, dict[str, Any]], minutes: float, path: Path) -> None:
    """Test accuracy over average MACs of every contender."""
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, result in results.items():
        macs, accuracy = np.array(result["curve"]).T
        panel.plot(macs / 1e6, 100 * accuracy, marker="o", markersize=3, color=COLOURS[name], label=name)
    for budget in BUDGETS_MACS:
        panel.axvline(budget / 1e6, color="#B0B0B0", linewidth=0.8, linestyle=":")
    panel.set_xlabel("average MACs per image (millions)")
    panel.set_ylabel("CIFAR-10 test accuracy (%)")
    panel.set_ylim(bottom=60)
    panel.set_title(f"after {minutes:g} CPU minutes of training on one thread")
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right")
    write_atomically(path, lambda partial: figure.savefig(partial, dpi=130, format="png"))
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("results/cifar10_cpu"))
    parser.add_argument("--pick", default="avg_macs<=16e6")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--out", type=Path, default=Path("results/equal_minutes"))
    options = parser.parse_args()

    trial, _ = RunSession.open(options.run).pick(options.pick)
    architecture = trial.architecture.to_json()
    missing = [n for n in options.contenders if not (_folder(options.out, n) / "result.json").exists()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.parallel, mp_context=context) as pool:
        waiting = [pool.submit(train, options.run, n, architecture, options.minutes, options.out) for n in missing]
        for future in waiting:
            future.result()
    results = {
        name: json.loads((_folder(options.out, name) / "result.json").read_text())
        for name in CONTENDERS
        if (_folder(options.out, name) / "result.json").exists()
    }
    table = pd.DataFrame([result["row"] for result in results.values()])
    write_text(options.out / "equal_minutes.csv", table.to_csv(index=False))
    draw(results, options.minutes, options.out / "equal_minutes.png")
    print(f"searched: {trial.architecture}")
    with pd.option_context("display.width", 250, "display.max_columns", None):
        print(table.drop(columns=[c for c in table if c.startswith("avg_macs")]).to_string(index=False))


def _folder(out: Path, name: str) -> Path:
    return out / "checkpoints" / name.replace(" ", "-")


if __name__ == "__main__":
    main()
