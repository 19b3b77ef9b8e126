"""Data-parallel training on Ray: Ray Train starts and places the workers, each of which runs the training loop.

All ranks sample the same subnets and average their gradients once per step (`training.ranks`). A DDP wrapper isn't
suitable, since a step runs several subnets that leave many parameters without a gradient.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aebnas.core.determinism import pinned
from aebnas.core.errors import UserError
from aebnas.core.progress import Counter, no_bar, progress_bar
from aebnas.core.ray_cluster import (
    apply_settings,
    cores,
    node_resources,
    on_this_machine,
    open_progress_actor,
    ray_cluster,
    require_room,
    threads_each,
)
from aebnas.data.batches import Batches
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.loop import fit
from aebnas.training.ranks import Ranks
from aebnas.training.task import Row, Task
from aebnas.training.training_spec import SupernetSpec

RETRIES = 1
"""How many times training is resumed from its checkpoint after a worker has died."""

REPORT_EVERY_S = 0.5
"""Seconds between two progress reports of rank 0, and between two updates of the progress bar."""


def fit_on_workers(
    task: Task,
    batches: Batches,
    spec: SupernetSpec,
    seed: int,
    label: str,
    checkpoint: Path,
    on_rows: Callable[[list[Row]], None],
    address: str,
    compute: ComputeMeter,
) -> nn.Module:
    """`loop.fit` by `spec.workers` Ray workers; the module returned is on the CPU.

    `checkpoint` must be on a file system that all machines share; rank 0 writes it and calls `on_rows`. `task` and
    `batches` are sent to the workers. Raises UserError as `fit` does, for a cluster that can't be reached or is too
    small, and when workers die more than once.
    """
    checkpoint = checkpoint.resolve()  # workers elsewhere have another working directory
    _check_shares(batches, spec.workers)
    cpus = max(cores(), spec.workers * (spec.threads or 1))
    scratch = checkpoint.parent / "ray_train"
    try:
        with ray_cluster(address, cpus) as ray:
            deterministic = torch.are_deterministic_algorithms_enabled()
            threads = spec.threads or (1 if deterministic else threads_each(ray, spec.workers))
            require_room(ray, spec.workers, threads)
            use_gpu = _use_gpu(ray, spec.workers)
            each = "a GPU" if use_gpu else f"{threads} CPU thread{'s' if threads > 1 else ''}"
            print(f"{label}: starting {spec.workers} workers with {each} each", file=sys.stderr, flush=True)
            config = {
                # put into the object store once, independent of the number of workers
                "work": ray.put((task, batches, spec, seed, label, checkpoint, on_rows)),
                "progress_actor": open_progress_actor(ray),
                "threads": threads,
                "deterministic": deterministic,
            }
            # in a separate process: in this one Ray Train would replace the handler of Ctrl-C and not restore it
            train = ray.remote(num_cpus=0, scheduling_strategy=on_this_machine(ray))(_train)
            training = train.remote(config, spec.workers, threads, use_gpu, scratch)
            _follow(ray, config["progress_actor"], training, label)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: must be on a file system that all machines of the cluster share")
    # loads the finished checkpoint, trains nothing
    return fit(task, batches, spec, seed, label, checkpoint, on_rows, compute=compute)


def _check_shares(batches: Batches, workers: int) -> None:
    if (size := min(batches.batch_size, len(batches.images))) % workers:
        raise UserError(f"supernet.workers: must divide a batch of {size} images, but got {workers}")


def _use_gpu(ray: Any, workers: int) -> bool:
    gpus = sum(node_resources(ray, "GPU"))
    if 0 < gpus < workers:
        raise UserError(f"supernet.workers: must be at most the {gpus} GPUs of the cluster, but got {workers}")
    return gpus > 0


def _train(config: dict[str, Any], workers: int, threads: int, use_gpu: bool, scratch: Path) -> None:
    """Run Ray Train to completion; `scratch` is the folder for its files."""
    apply_settings()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    resources = {"CPU": threads} | ({"GPU": 1} if use_gpu else {})
    trainer = TorchTrainer(
        _work,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name="supernet", storage_path=str(scratch), failure_config=FailureConfig(max_failures=RETRIES)
        ),
    )
    trainer.fit()


def _work(config: dict[str, Any]) -> None:
    """The training function of each worker."""
    import ray
    from ray.train import get_context
    from ray.train.torch import get_device

    task, batches, spec, seed, label, checkpoint, on_rows = ray.get(config["work"])
    task.module.to(get_device())
    ranks = Ranks(get_context().get_world_rank(), get_context().get_world_size())
    progress_actor = config["progress_actor"]
    progress = partial(_reported_progress, progress_actor) if ranks.rank == 0 else no_bar
    try:
        with pinned(config["threads"], config["deterministic"]):
            fit(task, batches, spec, seed, label, checkpoint, on_rows, progress, ranks)
    except (UserError, OSError) as error:  # a retry would fail in the same way
        ray.get(progress_actor.fail.remote(error))


class _ProgressReporter:
    """A progress counter that sends its steps to the progress actor, at most once in `REPORT_EVERY_S` seconds."""

    def __init__(self, actor: Any, total: int, done: int) -> None:
        self.actor, self.total, self.done = actor, total, done
        self.reported_at = 0.0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.reported_at >= REPORT_EVERY_S or self.done >= self.total:
            self.actor.report.remote(self.done, self.total)
            self.reported_at = now


@contextmanager
def _reported_progress(actor: Any, label: str, total: int, done: int) -> Iterator[Counter]:
    reporter = _ProgressReporter(actor, total, done)
    reporter.advance(0)
    yield reporter


def _follow(ray: Any, actor: Any, training: Any, label: str) -> None:
    """Show the workers' progress until the training ends; raises the error that stopped it."""
    with ExitStack() as stack:
        bar: Counter | None = None
        shown = 0
        running = True
        while running:
            _, running = ray.wait([training], timeout=REPORT_EVERY_S)
            steps, error = ray.get(actor.read.remote())
            if error is not None:
                raise error
            if steps is None:
                continue
            done, total = steps
            if bar is None:
                bar, shown = stack.enter_context(progress_bar(label, total, done)), done
            if done != shown:  # fewer, where training was resumed from its checkpoint
                bar.advance(done - shown)
                shown = done
    try:
        ray.get(training)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"supernet.workers: the workers must not die, but failed twice: {reason}") from error
