"""How a folder of images is laid out: `train/<class>/*` and `test/<class>/*`. Imports no torch and reads no image."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.data.folder_walk import PARTS, FolderWalk, left_out_text

NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats of which Pillow itself reads only the header."""


def list_folder(
    root: Path, follow_links: bool, train: bool
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...], Mapping[str, int]]:
    """Paths, labels, class names and what was left out of one part; classes are the folders of `train`, sorted by name.

    Images may be at any depth below their class; see `FolderWalk` for symbolic links. Raises UserError for a class
    without images, or one of `test` that `train` hasn't.
    """
    walk = FolderWalk(root, follow_links)
    parts = {part: walk.classes(part) for part in PARTS}
    classes, tested = parts["train"], parts["test"]
    if len(classes) < 2:
        raise UserError(f"{root / 'train'}: must hold at least 2 classes, but got only '{classes[0]}'")
    unknown = [name for name in tested if name not in classes]
    if unknown:
        raise UserError(f"{root / 'test' / unknown[0]}: must be a class of {root / 'train'}, but isn't")
    found = {
        part: {name: _images_of(walk, part, name) for name in names}
        for part, names in parts.items()
        if train or part == "test"
    }
    paths: list[str] = []
    labels: list[int] = []
    for name, files in found["train" if train else "test"].items():
        paths += [os.path.relpath(file, root) for file in files]
        labels += [classes.index(name)] * len(files)
    return tuple(paths), tuple(labels), tuple(classes), walk.left_out


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
    from PIL import Image

    known = Image.registered_extensions()
    return tuple(sorted(end for end, kind in known.items() if kind in Image.OPEN and kind not in NOT_DECODED))
