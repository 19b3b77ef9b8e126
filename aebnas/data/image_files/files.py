"""Images in files, read when they are needed.

Legend: m images read, c channels, h height, w width.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.data.data_spec import Loaders
from aebnas.data.image_files.listing import Listing
from aebnas.data.image_set import ImageSet, InMemory, Source
from aebnas.data.loader_workers import read_all
from aebnas.runtime.preprocessing import ImageError, ImageReader

LEAVE_OUT = "data.unreadable: leave_out leaves out what can't be read"


@dataclass(frozen=True)
class Files:
    """A source over image files, which `reader` brings to one shape."""

    paths: tuple[str, ...]
    reader: ImageReader

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Source`."""
        return self.reader.shape

    @property
    def in_memory(self) -> bool:
        """See `Source`."""
        return False

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        pixels_mchw = torch.empty(len(indices), *self.shape, dtype=torch.uint8)
        with _no_bombs():
            for place, index in enumerate(indices.tolist()):
                path = self.paths[index]
                try:
                    pixels_mchw[place] = self._read_one(path)
                except UserError as error:
                    raise UserError(f"{_reason(path, error)} ({LEAVE_OUT})") from None
        return pixels_mchw

    def readable(self, indices: Tensor) -> Tensor:
        """Whether the images at `indices [m]` can be read, bool `[m]`.

        Raises UserError for a file that the system doesn't open, which says nothing about what is in it.
        """
        return torch.tensor([self._is_readable(self.paths[index]) for index in indices.tolist()], dtype=torch.bool)

    def _is_readable(self, path: str) -> bool:
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise UserError(f"{path}: must be a file that can be opened, but got {type(error).__name__}") from None
        try:
            with _no_bombs():
                self._read_one(path)
        except UserError:
            return False
        return True

    def take(self, indices: Tensor) -> "Files":
        """See `Source`."""
        return Files(tuple(self.paths[index] for index in indices.tolist()), self.reader)

    def _read_one(self, path: str) -> Tensor:
        try:
            return torch.from_numpy(self.reader.read(path)).permute(2, 0, 1)
        except ImageError as error:
            raise UserError(str(error)) from None


@contextmanager
def _no_bombs() -> Iterator[None]:
    """Without Pillow's warnings of decompression bombs, which the reader refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _reason(path: str, error: UserError) -> str:
    with suppress(OSError):
        if not Path(path).stat().st_size:
            return f"{path}: must be a readable image, but got an empty file"
    return str(error)


class Held:
    """A source that reads all images of another into memory, with `loaders` processes, at its first `read`.

    Until then `take` returns a part of the other source, so that a small part doesn't cost reading the whole.
    """

    def __init__(self, source: Source, loaders: Loaders) -> None:
        self._source, self._loaders = source, loaders
        self.shape, self.paths, self.in_memory = source.shape, source.paths, True

    def __len__(self) -> int:
        return len(self._source)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        return self._in_memory().read(indices)

    def take(self, indices: Tensor) -> Source:
        """See `Source`."""
        return self._source.take(indices)

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, (self._in_memory(),)  # worker processes get the pixels instead of reading the files again

    def _in_memory(self) -> InMemory:
        if not isinstance(self._source, InMemory):
            images = torch.empty(len(self), *self.shape, dtype=torch.uint8)
            with progress_bar("reading images", len(self)) as bar:
                for part, pixels in read_all(self._source.read, len(self), self._loaders, math.prod(self.shape)):
                    images[part] = pixels
                    bar.advance(len(part))
            self._source = InMemory(images)
        return self._source


def _same(source: Source) -> Source:
    return source


def load_listed(listing: Listing, reader: ImageReader) -> ImageSet:
    """The images of a listing, none of which is read now."""
    labels_n = torch.tensor(listing.labels)
    return ImageSet(Files(listing.files, reader), labels_n, len(listing.class_names), listing.left_out, listing.notes)
