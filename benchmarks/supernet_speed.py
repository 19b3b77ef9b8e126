"""Images per second per sampled subnet of supernet training compared with plain training, and the time of its parts.

    python benchmarks/supernet_speed.py [--spec experiments/cifar10_cpu.yaml] [--rounds 5]

One thread, CPU time, medians over rounds; compared parts alternate within each round. Three tables:
training passes of single architectures through the Supernet and through a plain Network; a whole sandwich
step, in parts, beside plain passes of the same subnets; and the plain pass of the largest network under other
settings (memory format, precision, torch.compile). Random images replace the data set.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aebnas.core.spec_base import read_spec
from aebnas.cost.counts import count_graph
from aebnas.data.batches import Batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.image_set import ImageSet
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.supernet.elastic import initialise
from aebnas.supernet.supernet import Supernet
from aebnas.training.sandwich import SandwichTask


def cpu_seconds(rounds: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU seconds of each function; they alternate, after one warm-up each."""
    for work in works.values():
        work()
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, work in works.items():
            started = time.process_time()
            work()
            taken[name].append(time.process_time() - started)
    return {name: statistics.median(found) for name, found in taken.items()}


def joint_loss(logits: list[Tensor], labels_n: Tensor) -> Tensor:
    """Mean cross-entropy over exits."""
    return torch.stack([F.cross_entropy(exit_nc.float(), labels_n) for exit_nc in logits]).mean()


def plain_network(architecture: Architecture) -> Network:
    """A Network of this architecture in training mode, channels_last."""
    network = Network(lower(architecture))
    initialise(network, torch.Generator().manual_seed(0))
    return network.to(memory_format=torch.channels_last).train()


def training_pass(module: nn.Module, forward: Callable[[], list[Tensor]], labels_n: Tensor) -> Callable[[], None]:
    """A function that runs a forward and a backward pass."""

    def work() -> None:
        module.zero_grad(set_to_none=True)
        joint_loss(forward(), labels_n).backward()

    return work


def single_architectures(
    supernet: Supernet, named: dict[str, Architecture], x_nchw: Tensor, labels_n: Tensor, rounds: int
) -> None:
    """First table: passes of single architectures through the Supernet and a plain Network."""
    print(f"{'architecture':<14}{'MMACs':>8}{'plain img/s':>13}{'supernet img/s':>16}{'supernet/plain':>16}")
    for name, architecture in named.items():
        network = plain_network(architecture)
        seconds = cpu_seconds(
            rounds,
            {
                "plain": training_pass(network, lambda net=network: net(x_nchw), labels_n),
                "supernet": training_pass(supernet, lambda arch=architecture: supernet(x_nchw, arch), labels_n),
            },
        )
        macs = count_graph(lower(architecture)).macs.total / 1e6
        plain, shared = len(x_nchw) / seconds["plain"], len(x_nchw) / seconds["supernet"]
        print(f"{name:<14}{macs:>8.1f}{plain:>13.0f}{shared:>16.0f}{shared / plain:>16.2f}", flush=True)


def sandwich_step(task: SandwichTask, batches: Batches, rounds: int) -> None:
    """Second table: the parts of a training step."""
    supernet, spec = task.module, task.spec
    optimiser = torch.optim.SGD(supernet.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
    averaged = AveragedModel(supernet, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    parts: dict[str, list[float]] = defaultdict(list)
    plain: list[float] = []
    generator = torch.Generator().manual_seed(0)
    for number in range(rounds + 1):
        marks = [("start", time.process_time())]

        def mark(name: str, marks: list[tuple[str, float]] = marks) -> None:
            marks.append((name, time.process_time()))

        x_nchw, labels_n = next(batches.epoch(generator))
        mark("data and augmentation")
        optimiser.zero_grad(set_to_none=True)
        for loss in task.losses(x_nchw, labels_n, np.random.default_rng(number)):
            mark("forward, sampling, losses")
            loss.backward()
            mark("backward")
        nn.utils.clip_grad_norm_(supernet.parameters(), spec.clip)
        optimiser.step()
        mark("clip and SGD")
        averaged.update_parameters(supernet)
        mark("weight averaging")
        if number:  # the first is the warm-up
            step: dict[str, float] = defaultdict(float)
            for (_, before), (name, after) in pairwise(marks):
                step[name] += after - before
            for name, seconds in step.items():
                parts[name].append(seconds)
        paths = task._paths(np.random.default_rng(number))
        sets = [branches for path in paths for branches in path]
        subnets = len(sets)
        works = {}
        for index, architecture in enumerate(sets):
            network = plain_network(architecture)
            works[str(index)] = training_pass(network, lambda net=network, x=x_nchw: net(x), labels_n)
        if number:
            plain.append(sum(cpu_seconds(1, works).values()))
    medians = {name: statistics.median(found) for name, found in parts.items()}
    total = sum(medians.values())
    print(f"\nsandwich step of {subnets} subnets on {len(x_nchw)} images: {total:.3f} s")
    for name, seconds in medians.items():
        print(f"  {name:<28}{seconds * 1e3:>9.1f} ms{100 * seconds / total:>7.1f} %")
    rate, plain_rate = subnets * len(x_nchw) / total, subnets * len(x_nchw) / statistics.median(plain)
    print(f"  images/s per sampled subnet: {rate:.0f}; plain training of the same subnets: {plain_rate:.0f}")
    print(f"  ratio {rate / plain_rate:.2f} (branch sets of one backbone share its pass)")


def settings(architecture: Architecture, x_nchw: Tensor, labels_n: Tensor, rounds: int, compiled: bool) -> None:
    """Third table: the plain pass under other settings."""
    fp32 = plain_network(architecture)
    nchw = plain_network(architecture).to(memory_format=torch.contiguous_format)
    x_plain = x_nchw.contiguous()

    def bf16() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return fp32(x_nchw)

    works = {
        "fp32, channels_last": training_pass(fp32, lambda: fp32(x_nchw), labels_n),
        "fp32, NCHW": training_pass(nchw, lambda: nchw(x_plain), labels_n),
        "bf16 autocast, channels_last": training_pass(fp32, bf16, labels_n),
    }
    if compiled:
        fused = torch.compile(plain_network(architecture))
        works["fp32, channels_last, compiled"] = training_pass(fused, lambda: fused(x_nchw), labels_n)
    seconds = cpu_seconds(rounds, works)
    base = seconds["fp32, channels_last"]
    amx = torch.cpu._is_amx_tile_supported()
    print(f"\nlargest network, plain training (this CPU {'has' if amx else 'has no'} AMX)")
    for name, found in seconds.items():
        print(f"  {name:<32}{len(x_nchw) / found:>8.0f} img/s{base / found:>7.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, default=Path("experiments/cifar10_cpu.yaml"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--random", type=int, default=3, help="random architectures beside the two extremes")
    parser.add_argument("--compile", action="store_true", help="time torch.compile as well")
    options = parser.parse_args()
    torch.set_num_threads(1)

    experiment = read_spec(ExperimentSpec, options.spec)
    space = SearchSpace.load(options.spec.parent / experiment.space)
    spec = experiment.supernet
    assert spec is not None, "the spec must train a supernet"
    supernet = Supernet(space.spec, torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    image = space.spec.input
    side = space.extreme(largest=True).resolution
    generator = torch.Generator().manual_seed(0)
    shape = (4 * spec.batch_size, image.channels, side, side)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, space.spec.classes, shape[:1], generator=generator)
    images = ImageSet.of(pixels, labels, space.spec.classes)
    preprocessing = measure_preprocessing(images)
    batches = Batches(images, preprocessing, experiment.data.effective_augment, spec.batch_size)
    x_nchw, labels_n = next(batches.epoch(generator))

    rng = np.random.default_rng(0)
    named = {"largest": space.extreme(largest=True), "smallest": space.extreme(largest=False)}
    named |= {f"random {n + 1}": space.decode(space.sample(rng)).architecture for n in range(options.random)}
    print(f"{options.spec}: batch {spec.batch_size}, one thread, medians of {options.rounds} rounds")
    single_architectures(supernet, named, x_nchw, labels_n, options.rounds)
    task = SandwichTask(supernet, space, spec, images, preprocessing, [x_nchw])
    sandwich_step(task, batches, options.rounds)
    settings(named["largest"], x_nchw, labels_n, options.rounds, options.compile)


if __name__ == "__main__":
    main()
