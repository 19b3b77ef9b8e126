"""A labelled image set, in memory or in files.

Legend: n images, c channels, h height, w width; m images read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


class Source(Protocol):
    """Where images come from: memory or files. Must be picklable, for worker processes."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(c, h, w)` of every image."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether reading an image again is no more than a copy of its pixels."""
        ...

    @property
    def paths(self) -> tuple[str, ...] | None:
        """The files that hold the images as they are, in their order; None where they aren't files."""
        ...

    def __len__(self) -> int:
        """The number of images."""
        ...

    def read(self, indices: Tensor) -> Tensor:
        """Images at `indices [m]` (int64) as uint8 `[m, c, h, w]`; raises UserError for one that can't be read."""
        ...

    def take(self, indices: Tensor) -> "Source":
        """The images at `indices [m]`, in that order, without reading any."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """A source over `images [n, c, h, w]`; raises ValueError unless they are uint8."""

    images: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 [n, c, h, w], but got {_description(self.images)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Source`."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def in_memory(self) -> bool:
        """See `Source`."""
        return True

    @property
    def paths(self) -> None:
        """See `Source`."""

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        return self.images[indices.to(self.images.device)]

    def take(self, indices: Tensor) -> "InMemory":
        """See `Source`."""
        return InMemory(self.read(indices))


@dataclass(frozen=True, eq=False)
class Joined:
    """The images of one source, then those of another; ValueError where their shapes differ."""

    first: Source
    second: Source

    def __post_init__(self) -> None:
        if self.first.shape != self.second.shape:
            raise ValueError(f"joined images must be of one shape, but got {self.first.shape}, {self.second.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Source`."""
        return self.first.shape

    @property
    def in_memory(self) -> bool:
        """See `Source`."""
        return self.first.in_memory and self.second.in_memory

    @property
    def paths(self) -> None:
        """See `Source`."""

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        behind_m = indices >= len(self.first)
        images = torch.empty(len(indices), *self.shape, dtype=torch.uint8)
        images[~behind_m] = self.first.read(indices[~behind_m]).cpu()
        images[behind_m] = self.second.read(indices[behind_m] - len(self.first)).cpu()
        return images

    def take(self, indices: Tensor) -> "Taken":
        """See `Source`."""
        return Taken(self, indices)


@dataclass(frozen=True, eq=False)
class Taken:
    """The images of a source at `indices_n`."""

    source: Source
    indices_n: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Source`."""
        return self.source.shape

    @property
    def in_memory(self) -> bool:
        """See `Source`."""
        return self.source.in_memory

    @property
    def paths(self) -> None:
        """See `Source`."""

    def __len__(self) -> int:
        return len(self.indices_n)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        return self.source.read(self.indices_n[indices])

    def take(self, indices: Tensor) -> "Taken":
        """See `Source`."""
        return Taken(self.source, self.indices_n[indices])


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with `labels [n]` (int64) in `0..classes-1`; n may be 0.

    `left_out` counts, by reason, what lay beside the images of a whole set and was not read as one; `notes` say what
    isn't plain about its parts. Raises ValueError for labels of another type, number or range.
    """

    source: Source
    labels: Tensor
    classes: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.source),):
            raise ValueError(f"labels must be int64 [{len(self.source)}], but got {_description(self.labels)}")
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, but got {self.classes}")
        if len(self) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            low, high = int(self.labels.min()), int(self.labels.max())
            raise ValueError(f"labels must be in 0..{self.classes - 1}, but got {low}..{high}")

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, classes: int) -> "ImageSet":
        """A set in memory: `images` uint8 `[n, c, h, w]`; raises ValueError for any others."""
        return cls(InMemory(images), labels, classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of one image."""
        return self.source.shape

    def pixels(self, indices: Tensor | Sequence[int] | slice = slice(None)) -> Tensor:
        """Images at `indices` (int64 `[m]`), or all, as uint8 `[m, c, h, w]`.

        Raises UserError where a file can't be read.
        """
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        return self.source.read(torch.as_tensor(indices, dtype=torch.int64))

    def subset(self, indices: Tensor) -> "ImageSet":
        """The images at `indices` (int64 `[m]`), in that order, without reading any; `classes` is unchanged."""
        return ImageSet(self.source.take(indices), self.labels[indices], self.classes)

    def joined(self, other: "ImageSet") -> "ImageSet":
        """These images and then those of another set of the same shape and classes."""
        if not len(other):
            return self
        return ImageSet(Joined(self.source, other.source), torch.cat([self.labels, other.labels]), self.classes)


def _description(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
