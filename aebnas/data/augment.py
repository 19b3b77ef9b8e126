"""From uint8 pictures to normalised batches, whole batches at a time.

Augmentation is for training batches alone; every other split is read through `eval_batches`.
Legend: n pictures of a batch, c channels, h height, w width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aebnas.data.config import AugmentSpec
from aebnas.data.datasets import ImageSet

STD_FLOOR = 1e-3


@dataclass(frozen=True)
class Preprocessing:
    """Normalisation of pictures of one `shape` (c, h, w): pixels to [0, 1], minus `mean [c]`, over `std [c]`.

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
    def measure(cls, images: Tensor) -> "Preprocessing":
        """Mean and standard deviation of each channel of uint8 `images [n, c, h, w]`; std is at least 1e-3.

        Exact, from the histogram of each channel. Raises ValueError for no images.
        """
        if not len(images):
            raise ValueError("images must hold at least one picture to measure, but got none")
        levels = torch.arange(256, dtype=torch.float64) / 255
        means, stds = [], []
        for channel in images.unbind(1):
            counts = torch.bincount(channel.flatten(), minlength=256).cpu().double()
            mean = (counts @ levels / counts.sum()).item()
            variance = (counts @ (levels - mean).square() / counts.sum()).item()
            means.append(mean)
            stds.append(max(math.sqrt(variance), STD_FLOOR))
        channels, height, width = images.shape[1:]
        return cls(tuple(means), tuple(stds), (channels, height, width))

    def apply(self, images: Tensor) -> Tensor:
        """Normalised float32 `[n, c, h, w]` in channels_last, from uint8 of that shape; raises ValueError."""
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
        """Read what `to_json` wrote; raises KeyError or ValueError when it isn't that."""
        channels, height, width = value["shape"]
        return cls(tuple(value["mean"]), tuple(value["std"]), (channels, height, width))


def augment(images_nchw: Tensor, spec: AugmentSpec, generator: torch.Generator) -> Tensor:
    """Random crop after zero padding by `spec.crop`, then left-right flip with probability 1/2.

    Takes and gives uint8 `[n, c, h, w]`, leaves its input alone; every picture draws for itself.
    Drawn from `generator` in this order: offsets `[2, n]` (row, column) in 0..2*crop if `spec.crop` > 0, then
    `[n]` in 0..1 if `spec.flip`.
    """

    def draw(high: int, shape: tuple[int, ...]) -> Tensor:
        drawn = torch.randint(high, shape, generator=generator, device=generator.device)
        return drawn.to(images_nchw.device)

    n, _, height, width = images_nchw.shape
    if spec.crop:
        row_n, column_n = draw(2 * spec.crop + 1, (2, n))
        windows = F.pad(images_nchw, [spec.crop] * 4).unfold(2, height, 1).unfold(3, width, 1)
        images_nchw = windows[torch.arange(n, device=images_nchw.device), :, row_n, column_n]
    if spec.flip:
        flipped = draw(2, (n, 1, 1, 1)).bool()
        images_nchw = torch.where(flipped, images_nchw.flip(3), images_nchw)
    return images_nchw


class Batches:
    """Shuffled, augmented, normalised training batches of equal size: the last incomplete one is dropped.

    A set smaller than `batch_size` gives one batch of what there is. Raises ValueError for no pictures or a
    batch size below 1.
    """

    def __init__(
        self, images: ImageSet, preprocessing: Preprocessing, augment_spec: AugmentSpec, batch_size: int
    ) -> None:
        if not len(images):
            raise ValueError("images must hold at least one picture to train on, but got none")
        _check_batch_size(batch_size)
        self.images, self.preprocessing = images, preprocessing
        self.augment_spec, self.batch_size = augment_spec, batch_size

    def __len__(self) -> int:
        """Steps of one epoch."""
        return max(1, len(self.images) // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass in an order drawn from `generator`: float32 `x_nchw` (channels_last) and int64 `y_n`."""
        order = torch.randperm(len(self.images), generator=generator, device=generator.device)
        order = order.to(self.images.images.device)
        for picked in order.split(self.batch_size)[: len(self)]:
            pictures = augment(self.images.images[picked], self.augment_spec, generator)
            yield self.preprocessing.apply(pictures), self.images.labels[picked]


def eval_batches(images: ImageSet, preprocessing: Preprocessing, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """All pictures once, in order, never augmented: `x_nchw` float32 (channels_last) and int64 `y_n`."""
    _check_batch_size(batch_size)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        yield preprocessing.apply(images.images[part]), images.labels[part]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, but got {batch_size}")
