"""The training loop: the same for a supernet and for a single network."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aebnas.core.atomic_files import write_text
from aebnas.core.errors import UserError
from aebnas.core.progress import Counter, progress_bar
from aebnas.data.batches import Batches
from aebnas.training.checkpoint import Checkpoint, read_checkpoint
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.length import Length
from aebnas.training.precision import computing_dtype
from aebnas.training.ranks import SINGLE_PROCESS, Ranks
from aebnas.training.recipes.averaging import WeightAverage
from aebnas.training.recipes.optimisers import Optimisers
from aebnas.training.recipes.progressive_resolution import resized, scale_at, training_size
from aebnas.training.task import Row, Task
from aebnas.training.training_spec import TrainSpec


def fit(
    task: Task,
    batches: Batches,
    spec: TrainSpec,
    seed: int,
    label: str,
    checkpoint: Path | None,
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
    progress: Callable[[str, int, int], AbstractContextManager[Counter]] = progress_bar,
    ranks: Ranks = SINGLE_PROCESS,
    compute: ComputeMeter | None = None,
) -> nn.Module:
    """Train `task.module` and return it with averaged weights (a copy where averaging is on).



    A checkpoint (unless None) is written after every epoch, and training resumes from an existing one with equal
    results, since every epoch has its own seeded generators. `on_rows` receives all validation rows so far after each
    epoch. With several `ranks` each calls this with equal arguments and takes its share of every batch; rank 0
    validates, writes and calls `on_rows`. `progress` makes the bar from label, number of steps and steps done.
    `compute` receives the FLOP of all steps, those before a resume included; the training ends early where they reach
    `spec.max_pflop`.
    Raises UserError when the loss is no longer finite or the checkpoint can't be used.
    """
    device = next(task.module.parameters()).device
    saved = read_checkpoint(checkpoint, ranks)
    # that of the first session: another session may measure another precision to be faster
    choose = partial(computing_dtype, spec.precision, device)
    precision = ranks.from_first(choose) if saved is None else saved.precision
    if spec.channels_last:
        _to_channels_last(task.module)
    optimisers = Optimisers(task.module, spec, batches.images_per_step)
    average = WeightAverage(task.module, spec)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    compute = ComputeMeter() if compute is None else compute
    length = Length(spec, len(batches), compute)
    parts = {"module": task.module, "optimisers": optimisers, "average": average, "scaler": scaler}
    state = Checkpoint(precision, {**parts, **task.stateful, "length": length, "compute": compute})
    rows, epoch = ([], 0) if saved is None else state.load(saved)
    ranks.from_first(partial(on_rows, rows))
    with progress(label, length.total, length.done) as bar:
        while length.progress < 1:
            started, first_step = time.monotonic(), length.steps
            order = torch.Generator().manual_seed(_epoch_seed(seed, epoch))
            rng = np.random.default_rng([seed, epoch])
            loss_sum = torch.zeros((), device=device)
            task.module.train()
            task.begin_epoch(epoch)
            for x_nchw, labels_n in batches.epoch(order, epoch, ranks.rank, ranks.world, device):
                task.begin_step(length.progress)
                optimisers.set_progress(length.midway)
                if spec.resolution_steps and task.graph is not None:
                    scale = scale_at(spec.resolution_steps, length.progress)
                    x_nchw = resized(x_nchw, training_size(task.graph, scale))
                if not spec.channels_last:
                    x_nchw = x_nchw.contiguous()
                loss_sum += _step(task, x_nchw, labels_n, rng, precision, optimisers, scaler, spec.clip, ranks)
                done = length.done
                # ranks draw the same networks and have equal shares of the batch, so that each counts the same
                length.count(task.flop() * ranks.world)
                average.update(length.progress)
                bar.advance(length.done - done)
                if length.progress >= 1:
                    break
            epoch += 1
            steps = length.steps - first_step
            loss = float(ranks.mean(loss_sum)) / steps
            if not math.isfinite(loss):
                raise UserError(
                    f"{label}: the loss must stay finite, but got {loss} in epoch {epoch}; "
                    f"lower lr ({spec.lr}) or set precision: fp32, in a new run (--out)"
                )
            seconds = time.monotonic() - started
            if epoch % spec.validate_every == 0 or length.progress >= 1:
                common = {
                    "phase": label,
                    "epoch": epoch,
                    "progress": length.progress,
                    "lr": optimisers.lr,
                    "loss": loss,
                    "train_seconds": seconds,
                    "images_per_second": steps * batches.images_per_step / seconds,
                    "pflop": compute.pflop,
                }
                rows = rows + ranks.from_first(partial(_validation_rows, task, average.module, common))
            if checkpoint:
                ranks.from_first(partial(state.save, checkpoint, rows, epoch))
            ranks.from_first(partial(on_rows, rows))
    return average.module


def _validation_rows(task: Task, module: nn.Module, common: Row) -> list[Row]:
    return [common | row for row in task.validate(module)]


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write validation rows as CSV."""
    write_text(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))


def _step(
    task: Task,
    x_nchw: Tensor,
    labels_n: Tensor,
    rng: np.random.Generator,
    precision: torch.dtype,
    optimisers: Optimisers,
    scaler: torch.amp.GradScaler,
    clip: float,
    ranks: Ranks,
) -> Tensor:
    """One optimiser step over all of the task's losses; returns their sum on this rank, detached."""
    optimisers.zero_grad()
    total = torch.zeros((), device=x_nchw.device)
    losses = task.losses(x_nchw, labels_n, rng)
    while True:
        with torch.autocast(x_nchw.device.type, precision, enabled=precision != torch.float32):
            loss = next(losses, None)
        if loss is None:
            break
        scaler.scale(loss).backward()
        total += loss.detach()
    task.step(scaler)
    ranks.average_gradients(optimisers.parameters)
    optimisers.step(scaler, clip)
    return total


def _to_channels_last(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
