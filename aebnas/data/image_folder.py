"""Images in a folder: `train/<class>/*` and `test/<class>/*`, read when they are needed.

Legend: m images read, c channels, h height, w width.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.data.folder_walk import PARTS, FolderWalk, left_out_text
from aebnas.data.image_set import ImageSet, InMemory, Source
from aebnas.data.loader_workers import Workers
from aebnas.runtime.preprocessing import ImageError, ImageReader

NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats of which Pillow itself reads only the header."""
READ_BATCH = 256


@dataclass(frozen=True)
class Files:
    """A source over image files, which `reader` brings to one shape."""

    paths: tuple[str, ...]
    reader: ImageReader

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Source`."""
        return self.reader.shape

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        pixels_mchw = torch.empty(len(indices), *self.shape, dtype=torch.uint8)
        for place, index in enumerate(indices.tolist()):
            pixels_mchw[place] = self._read_one(self.paths[index])
        return pixels_mchw

    def take(self, indices: Tensor) -> "Files":
        """See `Source`."""
        return Files(tuple(self.paths[index] for index in indices.tolist()), self.reader)

    def _read_one(self, path: str) -> Tensor:
        try:
            return torch.from_numpy(self.reader.read(path)).permute(2, 0, 1)
        except ImageError as error:
            raise UserError(str(error)) from None


class Held:
    """A source that reads all images of another into memory, with `loaders` processes, at its first `read`.

    Until then `take` returns a part of the other source, so that a small part doesn't cost reading the whole.
    """

    def __init__(self, source: Source, loaders: int) -> None:
        self._source, self._loaders = source, loaders
        self.shape, self.paths = source.shape, source.paths

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
            parts = torch.arange(len(self)).split(READ_BATCH)
            with progress_bar("reading images", len(self)) as bar:
                read = Workers(self._source.read, self._loaders).map(parts)
                for part, pixels in zip(parts, read, strict=True):
                    images[part] = pixels
                    bar.advance(len(part))
            self._source = InMemory(images)
        return self._source


def _same(source: Source) -> Source:
    return source


def load_folder(path: Path, reader: ImageReader, train: bool, follow_links: bool = False) -> ImageSet:
    """One part of a folder of images; classes are the folders of `train`, sorted by name.

    Images may be at any depth below their class; see `FolderWalk` for symbolic links. With the training part the
    folders and file names of the test part are checked, too, so that a missing one shows before a long search. Raises
    UserError for a class without images, or one of `test` that `train` hasn't.
    """
    walk = FolderWalk(path, follow_links)
    parts = {part: walk.classes(part) for part in PARTS}
    classes, tested = parts["train"], parts["test"]
    if len(classes) < 2:
        raise UserError(f"{path / 'train'}: must hold at least 2 classes, but got only '{classes[0]}'")
    unknown = [name for name in tested if name not in classes]
    if unknown:
        raise UserError(f"{path / 'test' / unknown[0]}: must be a class of {path / 'train'}, but isn't")
    found = {
        part: {name: _images_of(walk, part, name) for name in names}
        for part, names in parts.items()
        if train or part == "test"
    }
    paths: list[str] = []
    labels: list[int] = []
    for name, files in found["train" if train else "test"].items():
        paths += files
        labels += [classes.index(name)] * len(files)
    return ImageSet(Files(tuple(paths), reader), torch.tensor(labels), len(classes), walk.left_out)


def _images_of(walk: FolderWalk, part: str, name: str) -> list[str]:
    before = walk.left_out.copy()
    found = walk.images(part, name, image_extensions())
    if not found:
        left_out = left_out_text(walk.left_out - before)
        raise UserError(f"{walk.root / part / name}: must hold images (.jpg, .png, ...), but got none{left_out}")
    return found


@cache
def image_extensions() -> tuple[str, ...]:
    """Extensions of the files that Pillow reads, in lower case and sorted."""
    known = Image.registered_extensions()
    return tuple(sorted(end for end, kind in known.items() if kind in Image.OPEN and kind not in NOT_DECODED))
