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
from aebnas.training.precision import computing_dtype
from aebnas.training.ranks import SINGLE_PROCESS, Ranks
from aebnas.training.task import Row, Task
from aebnas.training.training_spec import TrainSpec
from aebnas.training.weight_average import WeightAverage


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
) -> nn.Module:
    """Train `task.module` and return it with averaged weights (a copy where averaging is on).

    A checkpoint (unless None) is written after every epoch, and training resumes from an existing one with equal
    results, since every epoch has its own seeded generators. `on_rows` receives all validation rows so far after each
    epoch. With several `ranks` each calls this with equal arguments and takes its share of every batch; rank 0
    validates, writes and calls `on_rows`. `progress` makes the bar from label, number of steps and steps done.
    Raises UserError when the loss is no longer finite or the checkpoint can't be used.
    """
    device = next(task.module.parameters()).device
    saved = read_checkpoint(checkpoint, ranks)
    # that of the first session: another session may measure another precision to be faster
    choose = partial(computing_dtype, spec.precision, device)
    precision = ranks.from_first(choose) if saved is None else saved.precision
    if spec.channels_last:
        _to_channels_last(task.module)
    optimiser = _optimiser(task.module, spec)
    total_steps, warmup_steps = spec.epochs * len(batches), spec.warmup_epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: warmup_cosine(s, warmup_steps, total_steps))
    averaged = WeightAverage(task.module, spec.ema) if spec.ema else None
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    state = Checkpoint(precision, task.module, averaged, optimiser, schedule, scaler, stateful=task.stateful)
    rows, first_epoch = ([], 0) if saved is None else state.load(saved)
    ranks.from_first(partial(on_rows, rows))
    with progress(label, spec.epochs * len(batches), first_epoch * len(batches)) as bar:
        for epoch in range(first_epoch, spec.epochs):
            started = time.monotonic()
            order = torch.Generator().manual_seed(_epoch_seed(seed, epoch))
            rng = np.random.default_rng([seed, epoch])
            loss_sum = torch.zeros((), device=device)
            task.module.train()
            task.begin_epoch(epoch)
            for x_nchw, labels_n in batches.epoch(order, epoch, ranks.rank, ranks.world, device):
                if not spec.channels_last:
                    x_nchw = x_nchw.contiguous()
                loss_sum += _step(task, x_nchw, labels_n, rng, precision, optimiser, scaler, spec.clip, ranks)
                schedule.step()
                if averaged is not None:
                    averaged.update()
                bar.advance()
            loss = float(ranks.mean(loss_sum)) / len(batches)
            if not math.isfinite(loss):
                raise UserError(
                    f"{label}: the loss must stay finite, but got {loss} in epoch {epoch + 1}; "
                    f"lower lr ({spec.lr}) or set precision: fp32, in a new run (--out)"
                )
            seconds = time.monotonic() - started
            if (epoch + 1) % spec.validate_every == 0 or epoch + 1 == spec.epochs:
                module = task.module if averaged is None else averaged.module
                common = {
                    "phase": label,
                    "epoch": epoch + 1,
                    "lr": schedule.get_last_lr()[0],
                    "loss": loss,
                    "train_seconds": seconds,
                    "images_per_second": len(batches) * batches.batch_size / seconds,
                }
                rows = rows + ranks.from_first(partial(_validation_rows, task, module, common))
            if checkpoint:
                ranks.from_first(partial(state.save, checkpoint, rows, epoch + 1))
            ranks.from_first(partial(on_rows, rows))
    return task.module if averaged is None else averaged.module


def _validation_rows(task: Task, module: nn.Module, common: Row) -> list[Row]:
    return [common | row for row in task.validate(module)]


def warmup_cosine(step: int, warmup_steps: float, total_steps: int) -> float:
    """Factor on the learning rate: a linear rise over the warm-up, then a half cosine to zero."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1.0, total_steps - warmup_steps)))


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write validation rows as CSV."""
    write_text(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"))


def _step(
    task: Task,
    x_nchw: Tensor,
    labels_n: Tensor,
    rng: np.random.Generator,
    precision: torch.dtype,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    clip: float,
    ranks: Ranks,
) -> Tensor:
    """One optimiser step over all of the task's losses; returns their sum on this rank, detached."""
    optimiser.zero_grad(set_to_none=True)
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
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    ranks.average_gradients(parameters)
    scaler.unscale_(optimiser)
    nn.utils.clip_grad_norm_(parameters, clip)
    scaler.step(optimiser)
    scaler.update()
    return total


def _optimiser(module: nn.Module, spec: TrainSpec) -> torch.optim.Optimizer:
    """SGD with weight decay on weights, without it on norms and biases."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.momentum > 0)


def _to_channels_last(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
