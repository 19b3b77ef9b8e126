"""From uint8 images to normalised batches, whole batches at a time.

Augmentation is for training batches only; every other split is read through `eval_batches`.
Legend: n images of a batch, c channels, h height, w width, k classes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import tee
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aebnas.data.class_balance import balanced_order
from aebnas.data.data_spec import AugmentSpec, Loaders
from aebnas.data.image_set import ImageSet
from aebnas.data.loader_workers import AHEAD, PART, Workers, number_of
from aebnas.data.on_device import copied, fits, to_device
from aebnas.data.transforms import Draws, augment, cut_out, draw, mix_up
from aebnas.runtime.normalise import normalise
from aebnas.runtime.preprocessing import Preprocessing

CPU = torch.device("cpu")
FLIP_SEED = 2026


class Batches:
    """Shuffled, augmented, normalised training batches of equal size: the last incomplete one is dropped.

    A set smaller than `batch_size` gives one batch of all its images. With `balanced` an epoch's images are drawn with
    replacement, every class equally often in expectation. `class_weights` (float32 `[k]`) are for the loss; they change
    no batch. Raises ValueError for no images or a batch size below 1.

    Where images are read and augmented changes no batch. On a GPU a set that is held in memory and fits is copied into
    the GPU's memory (`on_device.fits`) and augmented there. Otherwise `loaders` processes do it ahead of use: for
    `auto` as many as there are threads, but none for images that are in memory and trained on by a CPU, where it takes
    1 % of a step.
    """

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        augment_spec: AugmentSpec,
        batch_size: int,
        loaders: Loaders = "auto",
        balanced: bool = False,
        class_weights: Tensor | None = None,
    ) -> None:
        if not len(images):
            raise ValueError("images must hold at least one image to train on, but got none")
        _check_batch_size(batch_size)
        self.images, self.preprocessing = images, preprocessing
        self.augment_spec, self.batch_size, self.loaders = augment_spec, batch_size, loaders
        self.balanced, self.class_weights = balanced, class_weights
        self._input: _Input | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_input": None}  # processes can't be pickled; the unpickled copy starts its own

    def __len__(self) -> int:
        """Steps of one epoch."""
        return max(1, len(self.images) // self.batch_size)

    @property
    def images_per_step(self) -> int:
        """Images in every batch, shared by all ranks."""
        return min(self.batch_size, len(self.images))

    def epoch(
        self,
        generator: torch.Generator,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device = CPU,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass in an order drawn from `generator` (a CPU one): float32 `x_nchw` (channels_last) and `y_n`.

        Both are on `device`. Labels are int64 `[n]`, or float32 probabilities `[n, k]` with mixup. `epoch`, from 0, is
        for alternating flips. Of `world` processes each draws the same and yields its contiguous share of every batch:
        the shares of ranks 0, 1, ... concatenated are the batch of a single process. Raises ValueError where `world`
        doesn't divide a batch, UserError for a file that can't be read.
        """
        size = min(self.batch_size, len(self.images))
        if size % world or not 0 <= rank < world:
            raise ValueError(f"world must divide the batch of {size} and hold the rank, but got {rank} of {world}")
        share = range(rank * size // world, (rank + 1) * size // world)
        if self._input is None or self._input.device != device:
            self._input = self._prepared(device, math.ceil(len(share) / PART))
        images, workers = self._input.images, self._input.workers
        jobs, again = tee(self._jobs(generator, epoch, size, share))
        pixels = workers.map(part for job in jobs for part in _parts(job, workers.count))
        for job in again:
            together = [to_device(next(pixels), device) for _ in _parts(job, workers.count)]
            labels_n = images.labels[to_device(job.indices, images.labels.device)]
            yield self._finish(torch.cat(together), to_device(labels_n, device), job.draws)

    def _prepared(self, device: torch.device, parts: int) -> "_Input":
        """Where batches of `parts` parts come from."""
        images, count = self.images, 0
        if not self.augment_spec.trivial_augment and fits(images, device):  # which only a CPU does for many at once
            images = copied(images, device)
        elif not images.source.in_memory or device != CPU or self.loaders != "auto":
            # two batches ahead: this step's, which is taken at once, and the next one's
            part_bytes = PART * math.prod(images.shape)
            count = number_of(self.loaders, math.ceil(len(images) / PART), part_bytes, 2 * parts)
            if count:
                images.pixels([0])  # images to be held in memory have to be read before processes are forked
        ahead = max(AHEAD, math.ceil(2 * parts / max(1, count)))
        work = partial(_read, images, self.augment_spec)
        return _Input(device, images, Workers(work, count, ahead, pinned=device.type == "cuda"))

    def _jobs(self, generator: torch.Generator, epoch: int, size: int, share: range) -> Iterator["_Job"]:
        """Indices and draws for the `share` of each batch, drawn for the whole batch."""
        order = self._order(generator)
        # mixup mixes an image with the next, so a share needs the first image of the next one
        rows = torch.arange(share.start, share.stop + bool(self.augment_spec.mixup)) % size
        for batch in order.split(self.batch_size)[: len(self)]:
            draws = draw(self.augment_spec, size, self.images.shape, generator).of(rows)
            if self.augment_spec.flip == "alternate":
                draws = replace(draws, flip_n=self._first_flips[batch[rows]] ^ bool(epoch % 2))
            yield _Job(batch[rows], draws)

    def _order(self, generator: torch.Generator) -> Tensor:
        """Indices of an epoch's images, `[n]`."""
        if self.balanced:
            return balanced_order(self.images.labels, len(self.images), generator)
        return torch.randperm(len(self.images), generator=generator)

    @cached_property
    def _first_flips(self) -> Tensor:
        """Which images alternating flips flip in the first epoch: always the same, so a resumed run agrees."""
        return torch.randint(2, (len(self.images),), generator=torch.Generator().manual_seed(FLIP_SEED)).bool()

    def _finish(self, pixels: Tensor, y_n: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        x_nchw = normalise(pixels, self.preprocessing)
        if draws.centre_n2 is not None:
            x_nchw = cut_out(x_nchw, self.augment_spec.cutout, draws.centre_n2)
        if draws.mixed is not None:
            return mix_up(x_nchw, y_n, self.images.classes, draws.mixed)
        return x_nchw, y_n


class _Job(NamedTuple):
    """Indices of images, and their draws."""

    indices: Tensor
    draws: Draws


@dataclass(frozen=True)
class _Input:
    """What batches for a device are made of: the images, and what reads and augments them."""

    device: torch.device
    images: ImageSet
    workers: Workers[_Job]


def _parts(job: _Job, processes: int) -> Iterator[_Job]:
    """The jobs of which one process each does the next; one job where there are no processes."""
    if not processes:
        yield job
        return
    for rows in torch.arange(len(job.indices)).split(PART):
        yield _Job(job.indices[rows], job.draws.of(rows))


def _read(images: ImageSet, spec: AugmentSpec, job: _Job) -> Tensor:
    return augment(images.pixels(job.indices), spec, job.draws)


def eval_batches(
    images: ImageSet, preprocessing: Preprocessing, batch_size: int, device: torch.device = CPU
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images once, in order, never augmented, on `device`: `x_nchw` float32 (channels_last) and int64 `y_n`."""
    _check_batch_size(batch_size)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        yield normalise(to_device(images.pixels(part), device), preprocessing), to_device(images.labels[part], device)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, but got {batch_size}")
