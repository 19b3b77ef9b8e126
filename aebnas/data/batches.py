"""From uint8 images to normalised batches, whole batches at a time.

Augmentation is for training batches only; every other split is read through `eval_batches`.
Legend: n images of a batch, c channels, h height, w width, k classes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import tee
from typing import Any

import torch
from torch import Tensor

from aebnas.core.progress import no_bar, progress_bar
from aebnas.data.class_balance import balanced_order
from aebnas.data.data_spec import AugmentSpec
from aebnas.data.image_set import ImageSet, InMemory
from aebnas.data.loader_workers import Workers
from aebnas.data.transforms import Draws, augment, cut_out, draw, mix_up

STD_FLOOR = 1e-3
MAX_MEASURED = 10_000
MEASURE_BATCH = 500
FLIP_SEED = 2026


@dataclass(frozen=True)
class Preprocessing:
    """Normalisation of images of one `shape` (c, h, w): pixels to [0, 1], minus `mean [c]`, over `std [c]`.

    Raises ValueError unless there are c finite means and c finite, positive standard deviations.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be three positive numbers (c, h, w), but got {self.shape}")
        if not len(self.mean) == len(self.std) == self.shape[0]:
            got = f"{len(self.mean)} and {len(self.std)}"
            raise ValueError(f"mean and std must have {self.shape[0]} values (channels), but got {got}")
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std) <= 0:
            raise ValueError(f"mean and std must be finite and std positive, but got {self.mean}, {self.std}")

    @classmethod
    def measure(cls, images: ImageSet) -> "Preprocessing":
        """Mean and standard deviation of each channel; std is at least 1e-3.

        Of a set of more than 10,000 images, 10,000 evenly spaced ones are measured. Raises ValueError for none.
        """
        if not len(images):
            raise ValueError("images must hold at least one image to measure, but got none")
        count = min(len(images), MAX_MEASURED)
        measured = images.subset(torch.arange(count) * len(images) // count)
        channels, height, width = images.shape
        counts = torch.zeros(channels, 256, dtype=torch.int64)
        make_bar = no_bar if isinstance(images.source, InMemory) else progress_bar  # reading files is slow
        with make_bar("measuring images", count) as bar:
            for start in range(0, count, MEASURE_BATCH):
                pixels = measured.pixels(slice(start, start + MEASURE_BATCH))
                for channel, plane in enumerate(pixels.unbind(1)):
                    counts[channel] += torch.bincount(plane.flatten(), minlength=256).cpu()
                bar.advance(len(pixels))
        shares = counts.double() / counts.sum(1, keepdim=True)
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = shares @ levels
        variance = (shares * (levels - mean[:, None]).square()).sum(1)
        std = variance.sqrt().clamp_min(STD_FLOOR)
        return cls(tuple(mean.tolist()), tuple(std.tolist()), (channels, height, width))

    def apply(self, images: Tensor) -> Tensor:
        """Normalised float32 `[n, c, h, w]` in channels_last, from uint8 of that shape; ValueError for any other."""
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            got = f"{images.dtype} {list(images.shape)}"
            raise ValueError(f"images must be torch.uint8 [n, {', '.join(map(str, self.shape))}], but got {got}")
        std = torch.tensor(self.std, dtype=torch.float64)
        scale = (1 / (255 * std)).float().view(1, -1, 1, 1).to(images.device)
        shift = (-torch.tensor(self.mean, dtype=torch.float64) / std).float().view(1, -1, 1, 1).to(images.device)
        x_nchw = images.to(torch.float32, memory_format=torch.channels_last)
        return x_nchw.mul_(scale).add_(shift)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_json` reads it back to an equal Preprocessing."""
        return {"mean": list(self.mean), "std": list(self.std), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Preprocessing":
        """Read what `to_json` wrote; raises KeyError or ValueError for anything else."""
        channels, height, width = value["shape"]
        return cls(tuple(value["mean"]), tuple(value["std"]), (channels, height, width))


class Batches:
    """Shuffled, augmented, normalised training batches of equal size: the last incomplete one is dropped.

    A set smaller than `batch_size` gives one batch of all its images. `loaders` processes read and augment ahead of
    use, with equal results. With `balanced` an epoch's images are drawn with replacement, every class equally often in
    expectation. `class_weights` (float32 `[k]`) are for the loss; they change no batch. Raises ValueError for no images
    or a batch size below 1.
    """

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        augment_spec: AugmentSpec,
        batch_size: int,
        loaders: int = 0,
        balanced: bool = False,
        class_weights: Tensor | None = None,
    ) -> None:
        if not len(images):
            raise ValueError("images must hold at least one image to train on, but got none")
        _check_batch_size(batch_size)
        self.images, self.preprocessing = images, preprocessing
        self.augment_spec, self.batch_size, self.loaders = augment_spec, batch_size, loaders
        self.balanced, self.class_weights = balanced, class_weights
        self._workers: Workers[_Job] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_workers": None}  # processes can't be pickled; the unpickled copy starts its own

    def __len__(self) -> int:
        """Steps of one epoch."""
        return max(1, len(self.images) // self.batch_size)

    def epoch(
        self, generator: torch.Generator, epoch: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass in an order drawn from `generator` (a CPU one): float32 `x_nchw` (channels_last) and `y_n`.

        Labels are int64 `[n]`, or float32 probabilities `[n, k]` with mixup. `epoch`, from 0, is for alternating
        flips. Of `world` processes each draws the same and yields its contiguous share of every batch: the shares
        of ranks 0, 1, ... concatenated are the batch of a single process. Raises ValueError where `world` doesn't
        divide a batch, UserError for a file that can't be read.
        """
        size = min(self.batch_size, len(self.images))
        if size % world or not 0 <= rank < world:
            raise ValueError(f"world must divide the batch of {size} and hold the rank, but got {rank} of {world}")
        if self._workers is None:
            if self.loaders:
                self.images.pixels([0])  # images to be held in memory have to be read before processes are forked
            self._workers = Workers(partial(_read, self.images, self.augment_spec), self.loaders)
        jobs, again = tee(self._jobs(generator, epoch, size, range(rank * size // world, (rank + 1) * size // world)))
        for (indices, draws), pixels in zip(again, self._workers.map(jobs), strict=True):
            yield self._finish(pixels, self.images.labels[indices], draws)

    def _jobs(self, generator: torch.Generator, epoch: int, size: int, share: range) -> Iterator["_Job"]:
        """Indices and draws for the `share` of each batch, drawn for the whole batch."""
        order = self._order(generator)
        # mixup mixes an image with the next, so a share needs the first image of the next one
        rows = torch.arange(share.start, share.stop + bool(self.augment_spec.mixup)) % size
        for batch in order.split(self.batch_size)[: len(self)]:
            draws = draw(self.augment_spec, size, self.images.shape, generator).of(rows)
            if self.augment_spec.flip == "alternate":
                draws = replace(draws, flip_n=self._first_flips[batch[rows]] ^ bool(epoch % 2))
            yield batch[rows], draws

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
        x_nchw = self.preprocessing.apply(pixels)
        if draws.centre_n2 is not None:
            x_nchw = cut_out(x_nchw, self.augment_spec.cutout, draws.centre_n2)
        if draws.mixed is not None:
            return mix_up(x_nchw, y_n, self.images.classes, draws.mixed)
        return x_nchw, y_n


_Job = tuple[Tensor, Draws]
"""Indices of images, and their draws."""


def _read(images: ImageSet, spec: AugmentSpec, job: _Job) -> Tensor:
    indices, draws = job
    return augment(images.pixels(indices), spec, draws)


def eval_batches(images: ImageSet, preprocessing: Preprocessing, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All images once, in order, never augmented: `x_nchw` float32 (channels_last) and int64 `y_n`."""
    _check_batch_size(batch_size)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        yield preprocessing.apply(images.pixels(part)), images.labels[part]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, but got {batch_size}")
