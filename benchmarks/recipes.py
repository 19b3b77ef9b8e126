"""What training recipes and their ingredients are worth at equal compute: accuracy on CIFAR-10's test set.

    python benchmarks/recipes.py presets  [--pflop 0.2 0.4] [--seeds 11 22]  # the presets
    python benchmarks/recipes.py left-out [--pflop 0.1]     # ingredients of `fast` left out, others added
    python benchmarks/recipes.py joint    [--pflop 0.1]     # ways of training exits jointly, on two networks
    python benchmarks/recipes.py no-exits [--epochs 23]     # the last exit beside a network without exits
    python benchmarks/recipes.py long     [--pflop 1.0]     # the hand-made network trained for long

Networks: the hand-made three-exit ResNet of 29 million MACs, and the network that a search selected
(results/cifar10_cpu, `--pick`). All train by aebnas's own loop for the same PFLOP, on the same 45,000 images;
thresholds and temperatures are found on 2,500 others; accuracy is that of the test set at budgets of average MACs.
Trainings run in parallel, one thread each, and resume from their last epoch when the benchmark is started again. The
tables are results/recipes/*.csv.
"""

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from contenders import HAND_MADE

from aebnas.core.atomic_files import write_json, write_text
from aebnas.data.batches import Batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.data_spec import AugmentSpec, DataSpec
from aebnas.data.datasets import load_test
from aebnas.data.image_set import ImageSet
from aebnas.data.splits import CALIBRATE, load_splits
from aebnas.policies.calibration.calibrated_tables import calibrated_tables
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search.find import find
from aebnas.run.session import RunSession
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.recipes.batch_size import resolved_batch_size
from aebnas.training.recipes.initial_weights import set_initial_weights
from aebnas.training.single_network import fresh_network
from aebnas.training.stages import fit_network
from aebnas.training.training_spec import TrainSpec

SPLITS = {"search": 0.03, "calibrate": 0.05, "certify": 0.02}
BUDGETS_MACS = (14e6, 16e6, 17e6, 18e6)
POLICY = PolicySpec(criterion=("confidence", "entropy"))
PER_EXIT, NORM_IMAGES, CALIBRATION_IMAGES = 40, 4096, 512
CLASSIC_IMAGES: dict[str, Any] = {"crop": 4, "flip": True}
FAST_IMAGES: dict[str, Any] = {"crop": 2, "pad": "reflect", "flip": "alternate"}


@dataclass(frozen=True)
class Arm:
    """One way of training: settings of the loop, and of the augmentation. `exits` off removes all early exits."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=lambda: dict(FAST_IMAGES))
    exits: bool = True


CLASSIC = Arm("classic", {"recipe": "classic"}, CLASSIC_IMAGES)
FAST = Arm("fast", {"recipe": "fast"})
LEFT_OUT = (
    Arm("muon", {"optimiser": "muon"}),
    Arm("learning rate / 4", {"lr": 8.8, "weight_decay": 0.0044}),
    Arm("full resolution throughout", {"resolution_steps": ()}),
    Arm("cosine", {"schedule": "cosine"}),
    Arm("triangle", {"schedule": "triangle", "warmup": 0.23}),
    Arm("label smoothing 0.1", {"label_smoothing": 0.1}),
    Arm("no self-distillation", {"distillation": 0.0}),
    Arm("no averaging", {"ema": 0.0}),
    Arm("lookahead", {"ema": 0.0, "lookahead": 5}),
    Arm("norm biases x 64", {"norm_bias_lr": 64.0}),
    Arm("identity", {"identity_init": True}),
    Arm("whitening", {"whiten": True}),
    Arm("random flip", {}, FAST_IMAGES | {"flip": True}),
    Arm("zero padding", {}, FAST_IMAGES | {"pad": "zero"}),
    Arm("crop 4", {}, FAST_IMAGES | {"crop": 4}),
    Arm("cutout 8", {}, FAST_IMAGES | {"cutout": 8}),
    Arm("batch 128", {"batch_size": 128}),
)
"""Each part of the recipe left out or replaced, and each published part that the recipe doesn't have added."""
JOINT = (
    Arm("linear weights", {"exit_weights": "linear"}),
    Arm("mixed: backbone first", {"exits": {"backbone_first": 0.3}}),
    Arm("rescaled gradients", {"exits": {"gradient_rescaling": True}}),
    Arm("taught by the ensemble", {"distil_from": "ensemble"}),
    Arm("frozen backbone", {"exits": {"frozen_backbone": 0.3}}),
    Arm("frozen backbone, by reach", {"exits": {"frozen_backbone": 0.3, "reach_weights": True}}),
    Arm("boosted"),
)


@dataclass(frozen=True)
class Job:
    """One training and the files of its results."""

    arm: Arm
    network: str
    pflop: float | None
    epochs: int | None
    seed: int
    data: str
    out: Path

    @property
    def name(self) -> str:
        """Unique among all jobs."""
        length = f"{self.pflop:g} PFLOP" if self.epochs is None else f"{self.epochs} epochs"
        return f"{self.network}, {self.arm.name}, {length}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Of its checkpoint and its result."""
        return self.out / "checkpoints" / "".join(c if c.isalnum() or c in ".-" else "_" for c in self.name)


def architecture_of(network: str, arm: Arm) -> Architecture:
    """The hand-made network, or a run's pick (`RUN:PICK`); boosted or without exits as the arm says."""
    if network == "hand-made":
        architecture = SearchSpace.load(HAND_MADE).extreme(largest=True)
    else:
        run, pick = network.split(":", 1)
        architecture = RunSession.open(Path(run)).pick(pick)[0].architecture
    changes: dict[str, Any] = {} if arm.exits else {"exits": []}
    if arm.name == "boosted":
        changes["boosted"] = True
    return Architecture.from_json(architecture.to_json() | changes)


def run(job: Job) -> None:
    """Train a network, unless its result exists, and write the result."""
    if (job.folder / "result.json").exists():
        return
    torch.set_num_threads(1)
    job.folder.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).parents[1]
    source = {"name": "npz", "path": job.data} if job.data.endswith(".npz") else {"name": "cifar10", "root": job.data}
    data = DataSpec.model_validate(source | {"splits": SPLITS})
    splits = load_splits(data, root)
    spec = TrainSpec.model_validate(
        {"validate_every": 1_000_000, "precision": "bf16"}
        | job.arm.settings
        | {"max_pflop": job.pflop, "epochs": job.epochs}
    )
    architecture = architecture_of(job.network, job.arm)
    preprocessing = measure_preprocessing(splits.train, data.reader(splits.train.shape))
    augment = AugmentSpec.model_validate(job.arm.augment)
    _, height, width = splits.train.shape
    size = resolved_batch_size(spec.batch_size, len(splits.train), height, width)
    batches = Batches(splits.train, preprocessing, augment, size)
    norms = _calibration(splits.train, batches, NORM_IMAGES)
    network = fresh_network(architecture, job.seed)
    set_initial_weights(network, spec, norms[:1])
    compute = ComputeMeter()
    trained = fit_network(
        network,
        architecture,
        spec,
        batches,
        job.seed,
        job.name,
        job.folder / "checkpoint.pt",
        None,
        norms[:1],
        norms,
        compute=compute,
    ).eval()
    images = {CALIBRATE: splits.calibrate, "test": load_test(data, root)}
    tables = calibrated_tables(trained, images, preprocessing, POLICY)  # temperatures of `calibrate` for both
    test = tables["test"]
    row: dict[str, Any] = {"network": job.network.split(":")[0], "arm": job.arm.name, "seed": job.seed}
    row |= {"pflop": float(f"{compute.pflop or 0.0:.4g}")}
    row |= {f"exit{n}": round(100 * a, 2) for n, a in enumerate(test.correct_ne.mean(0), 1)}
    tuned = find(tables[CALIBRATE], POLICY, OptimiseSpec(per_exit=PER_EXIT))
    for budget in BUDGETS_MACS:
        within = tuned.within(budget)
        fits = within.cost <= budget
        row[f"at_{budget / 1e6:g}M"] = round(100 * score_policy(test, within.policy).accuracy, 2) if fits else None
    write_json(job.folder / "result.json", row)


def _calibration(images: ImageSet, batches: Batches, count: int) -> list[torch.Tensor]:
    """Augmented training images for norm statistics, in batches of 512."""
    some = images.subset(torch.arange(min(count, len(images))))
    few = Batches(some, batches.preprocessing, batches.augment_spec, CALIBRATION_IMAGES)
    return [x_nchw for x_nchw, _ in few.epoch(torch.Generator().manual_seed(0))]


def jobs_of(part: str, options: argparse.Namespace) -> list[Job]:
    """The trainings of one part of the benchmark."""

    def job(arm: Arm, network: str = "hand-made", pflop: float = 0.0, seed: int = 11, epochs: int | None = None) -> Job:
        return Job(arm, network, None if epochs else pflop, epochs, seed, options.data, options.out)

    pflop = options.pflop or {"presets": [0.2, 0.4], "long": [1.0], "no-exits": [0.2]}.get(part, [0.1])
    seeds = options.seeds or ([11, 22] if part == "presets" else [11])
    searched = f"{options.run}:{options.pick}"
    arms: tuple[Arm, ...] = {"presets": (CLASSIC, FAST), "left-out": (FAST, *LEFT_OUT), "joint": (FAST, *JOINT)}.get(
        part, (FAST,)
    )
    arms = tuple(Arm(arm.name, ({"recipe": "fast"} | arm.settings), arm.augment, arm.exits) for arm in arms)
    networks = ("hand-made", searched) if part in ("joint", "no-exits") else ("hand-made",)
    if part == "no-exits":
        arms = (*arms, Arm("without exits", {"recipe": "fast"}, exits=False))
        return [job(arm, network, seed=s, epochs=options.epochs) for network in networks for arm in arms for s in seeds]
    if options.arms:
        arms = tuple(arm for arm in arms if arm.name in options.arms)
    return [job(arm, network, p, s) for p in pflop for network in networks for arm in arms for s in seeds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["presets", "left-out", "joint", "no-exits", "long"])
    parser.add_argument("--pflop", type=float, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--epochs", type=int, default=23, help="of no-exits, which compares equal epochs")
    parser.add_argument("--arms", nargs="+")
    parser.add_argument("--run", default="results/cifar10_cpu")
    parser.add_argument("--pick", default="avg_macs<=16e6")
    parser.add_argument("--data", default="data", help="folder of CIFAR-10 as torchvision stores it, or an .npz file")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/recipes"))
    options = parser.parse_args()
    jobs = jobs_of(options.part, options)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.parallel, mp_context=context) as pool:
        for future in [pool.submit(run, job) for job in jobs]:
            future.result()
    rows = [json.loads((job.folder / "result.json").read_text()) for job in jobs]
    table = pd.DataFrame(rows)
    write_text(options.out / f"{options.part}.csv", table.to_csv(index=False))
    with pd.option_context("display.width", 250, "display.max_columns", None, "display.max_rows", None):
        print(table.to_string(index=False))
        if len(set(table.seed)) > 1:
            keys = ["network", "arm"]
            means = table.drop(columns="seed").groupby([*keys, np.round(table.pflop, 2)], sort=False).mean(True)
            print("\nmeans over seeds\n" + means.round(2).to_string())


if __name__ == "__main__":
    main()
