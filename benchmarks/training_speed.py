"""Speed of training: images a second beside a hand-written loop, where a step's time goes, and the wait for data.

    python benchmarks/training_speed.py [--data data/cifar10.npz] [--out results/training_speed]

Three tables, on a GPU where there is one:
- The three-exit ResNet of `hand_made_resnet.yaml` trained by aebnas and by `plain_training.py`: the same network,
  number format, batches, recipe and averaging of weights. The two alternate step by step; the ratio is the median over
  steps.
- Where the time of that step goes, and that of the supernet of `--spec`; the share of "data" is the wait for data.
- The same network at 64 pixels, trained on JPEGs of 500x375 pixels in a folder, by number of `loaders`.

A CPU computes with `--threads`; the first two tables are of its CPU time, so that other load has little effect on them.
The third is of wall-clock time and needs a quiet machine. On a GPU all times are between events on the GPU. Images are
those of `--data` (an array file), or made up.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plain_training
import torch
from PIL import Image
from step_marks import DATA, MarkedBatches, MarkedTask, Marks, marked_optimiser

from aebnas.core.spec_base import parse_spec, read_spec
from aebnas.core.yaml_reader import read_yaml
from aebnas.data.batches import Batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.data_spec import AUGMENTATIONS, DataSpec, Loaders
from aebnas.data.datasets import load_train
from aebnas.data.image_files.files import Files
from aebnas.data.image_set import ImageSet
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.runtime.network import Network
from aebnas.runtime.preprocessing import ImageReader
from aebnas.space.bundled import find_space
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet
from aebnas.training.loop import fit
from aebnas.training.precision import computing_dtype, dtype_name
from aebnas.training.sandwich import SandwichTask
from aebnas.training.single_network import SingleTask, fresh_network
from aebnas.training.stages import fit_network
from aebnas.training.task import Row, Task
from aebnas.training.training_spec import TrainSpec

HAND_MADE = Path(__file__).with_name("hand_made_resnet.yaml")
ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPH, PHOTOGRAPH_SIDE = (500, 375), 64
WARM_UP = 2
"""Steps that aren't counted."""


def spec_of(batch_size: int, precision: torch.dtype) -> TrainSpec:
    """The default recipe for one epoch."""
    return TrainSpec(epochs=1, recipe="classic", warmup=0.0, batch_size=batch_size, precision=dtype_name(precision))


def train_ours(network: Network, architecture: Any, batches: Batches, precision: torch.dtype, marks: Marks) -> None:
    """One epoch of aebnas's loop."""
    spec = spec_of(batches.batch_size, precision)
    fit_network(network, architecture, spec, batches, 0, "training", None, None, [], [], progress=marks.progress)


def compared(images: ImageSet, batch_size: int, device: torch.device) -> list[Row]:
    """First table."""
    architecture = SearchSpace.load(HAND_MADE).extreme(largest=True)
    ours = fresh_network(architecture, 0).to(device)
    plain = plain_training.ThreeExitResNet(images.classes).to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        for weights, same in zip(plain.parameters(), ours.parameters(), strict=True):
            weights.copy_(same)
    preprocessing, precision = measure_preprocessing(images), computing_dtype("auto", device)
    statistics_c = [torch.tensor(values, device=device) for values in (preprocessing.mean, preprocessing.std)]
    pixels, labels = images.pixels().to(device), images.labels.to(device)
    recipe = plain_training.Recipe(batch_size, precision)
    plain_steps, plain_marks = (
        plain_training.train(plain, pixels, labels, *statistics_c, recipe, 0),
        Marks(device, time.process_time),
    )

    def plain_step() -> None:
        plain_marks.begin_step()
        next(plain_steps)
        plain_marks.mark("step")

    batches = Batches(images, preprocessing, AUGMENTATIONS["crop_flip"], batch_size)
    marks = Marks(device, time.process_time, between=plain_step)
    train_ours(ours, architecture, batches, precision, marks)
    mine, theirs = ([sum(step.values()) for step in some.seconds()[WARM_UP:]] for some in (marks, plain_marks))
    ratio = statistics.median(other / own for own, other in zip(mine, theirs, strict=True))
    rows: list[Row] = []
    for name, seconds, relative in (("aebnas", mine, ratio), ("plain loop", theirs, 1.0)):
        step_s = statistics.median(seconds)
        rows.append(
            {"loop": name, "images_per_second": batch_size / step_s, "step_ms": 1e3 * step_s, "ratio": relative}
        )
    print(f"\nthree-exit ResNet, {dtype_name(precision)}, batch {batch_size}, medians of {len(mine)} steps")
    for row in rows:
        print(f"  {row['loop']:<14}{row['images_per_second']:>10.0f} images/s{row['step_ms']:>10.1f} ms a step")
    print(f"  ratio {ratio:.3f}")
    return rows


def parts_of(what: str, marks: Marks) -> list[Row]:
    """The parts of a step, printed: medians over steps."""
    steps = marks.seconds()[WARM_UP:]
    medians = {part: statistics.median(step[part] for step in steps) for step in steps for part in step}
    total = sum(medians.values())
    print(f"\n{what}: {1e3 * total:.1f} ms a step, waiting for data {100 * medians[DATA] / total:.1f} %")
    for part, seconds in medians.items():
        print(f"  {part:<34}{1e3 * seconds:>9.2f} ms{100 * seconds / total:>7.1f} %")
    return [{"of": what, "part": part, "ms": 1e3 * s, "share": s / total} for part, s in medians.items()]


def parts(images: ImageSet, spec: Path, batch_size: int, device: torch.device) -> list[Row]:
    """Second table."""
    experiment = read_spec(ExperimentSpec, spec)
    space = SearchSpace.load(find_space(experiment.space, spec.parent))
    assert experiment.supernet is not None, "the spec must train a supernet"
    precision = computing_dtype("auto", device)
    changed = {"epochs": 1, "batch_size": batch_size, "precision": dtype_name(precision)}
    supernet_spec = experiment.supernet.model_copy(update=changed)
    preprocessing = measure_preprocessing(images)
    supernet = Supernet(space.spec, torch.Generator().manual_seed(0)).to(device)
    architecture = SearchSpace.load(HAND_MADE).extreme(largest=True)
    network = fresh_network(architecture, 0).to(device)
    single = spec_of(batch_size, precision)
    tasks: dict[str, tuple[Task, TrainSpec, list[str]]] = {
        "three-exit ResNet": (SingleTask(network, architecture, single, None, preprocessing, []), single, ["network"]),
        f"supernet of {spec.name}": (
            SandwichTask(supernet, space, supernet_spec, images, preprocessing, []),
            supernet_spec,
            ["largest", "smallest", *(f"random {n + 1}" for n in range(supernet_spec.random_subnets))],
        ),
    }
    rows = []
    for what, (task, settings, names) in tasks.items():
        marks = Marks(device, time.process_time)
        batches = MarkedBatches(images, preprocessing, AUGMENTATIONS["crop_flip"], batch_size)
        batches.marks = marks
        with marked_optimiser(marks):
            fit(MarkedTask(task, marks, names), batches, settings, 0, what, None, progress=marks.progress)
        rows += parts_of(what, marks)
    return rows


def streamed(images: ImageSet, batch_size: int, device: torch.device) -> list[Row]:
    """Third table."""
    side, rows = PHOTOGRAPH_SIDE, []
    enlarged = read_yaml(HAND_MADE) | {"input": {"channels": 3, "resolution": side}}
    space = SearchSpace(parse_spec(SpaceSpec, enlarged, HAND_MADE))
    architecture, precision = space.extreme(largest=True), computing_dtype("auto", device)
    print(f"\n{len(images)} JPEGs of {PHOTOGRAPH[0]}x{PHOTOGRAPH[1]} read at {side}x{side}, batch {batch_size}")
    print(f"  {'loaders':<10}{'images/s':>10}{'waiting':>10}{'first batch':>14}")
    with tempfile.TemporaryDirectory() as folder:
        paths = tuple(written(images, Path(folder)))
        on_disk = ImageSet(Files(paths, ImageReader((3, side, side))), images.labels, images.classes)
        preprocessing = measure_preprocessing(on_disk.subset(torch.arange(min(64, len(images)))))
        choices: list[Loaders] = [0, 1, 2, "auto"]
        for loaders in choices:
            marks = Marks(device, time.perf_counter)
            batches = MarkedBatches(on_disk, preprocessing, AUGMENTATIONS["crop_flip"], batch_size, loaders)
            batches.marks = marks
            train_ours(fresh_network(architecture, 0).to(device), architecture, batches, precision, marks)
            first, *steps = marks.seconds()
            total = sum(sum(step.values()) for step in steps)
            share, rate = sum(step[DATA] for step in steps) / total, batch_size * len(steps) / total
            rows.append(
                {"loaders": loaders, "images_per_second": rate, "waiting_share": share, "first_batch_s": first[DATA]}
            )
            print(f"  {loaders!s:<10}{rate:>10.0f}{100 * share:>8.1f} %{first[DATA]:>12.2f} s", flush=True)
    return rows


def written(images: ImageSet, folder: Path) -> Iterator[str]:
    """Images enlarged to the size of photographs, as JPEG files."""
    for number, pixels in enumerate(images.pixels()):
        path = folder / f"{number}.jpg"
        enlarged = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize(PHOTOGRAPH, Image.Resampling.BICUBIC)
        # photographs have noise, enlarged images don't
        noise = np.random.default_rng(number).normal(0, 6, (*PHOTOGRAPH[::-1], 1))
        noisy = (np.asarray(enlarged) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(path, "JPEG", quality=85)
        yield str(path)


def made_up(n: int) -> ImageSet:
    """Smooth colours at random."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (n, 3, 4, 4), generator=generator).float()
    fine = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear").to(torch.uint8)
    return ImageSet.of(fine, torch.randint(10, (n,), generator=generator), 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="array file of 32x32 images in 10 classes")
    parser.add_argument("--spec", type=Path, default=ROOT / "experiments" / "cifar10_cpu.yaml")
    parser.add_argument("--batch-size", type=int, help="images (128; on a GPU 512)")
    parser.add_argument("--steps", type=int, help="of the first table (60; on a GPU 200), a quarter of the others")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU (default: 1)")
    parser.add_argument("--out", type=Path, help="folder for the tables as CSV files")
    parser.add_argument("--quick", action="store_true", help="a few tiny batches, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    size = options.batch_size or (8 if options.quick else 512 if gpu else 128)
    steps = options.steps or (4 if options.quick else 200 if gpu else 60)
    images = made_up(size * steps) if options.data is None else some(options.data, size * steps)
    fewer = images.subset(torch.arange(size * max(4, steps // 4)))
    print(torch.cuda.get_device_name(device) if gpu else f"CPU, {options.threads} thread(s)")
    tables = {
        "loops": compared(images, size, device),
        "parts": parts(fewer, options.spec, size, device),
        "streamed": streamed(images.subset(torch.arange(min(len(images), 16 * size // 2))), size // 2, device),
    }
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, rows in tables.items():
            pd.DataFrame(rows).to_csv(options.out / f"{name}.csv", index=False, float_format="%.4g")


def some(path: Path, n: int) -> ImageSet:
    """The first images of an array file."""
    images = load_train(DataSpec(name="npz", path=path.resolve()), Path())
    return images.subset(torch.arange(min(n, len(images))))


if __name__ == "__main__":
    main()
