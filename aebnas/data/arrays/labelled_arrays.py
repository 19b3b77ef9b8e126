"""Labelled images from an .npz of two arrays, for a network that exists already."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aebnas.core.errors import UserError
from aebnas.data.arrays.label_arrays import check_from_zero, read_labels
from aebnas.data.image_set import ImageSet


def load_labelled(path: Path, shape: tuple[int, int, int], class_names: Sequence[str]) -> ImageSet:
    """Read `x` (uint8 `[N, H, W, C]` or `[N, H, W]`) and `y` (see `read_labels`) of a file.

    `shape` (c, h, w) and `class_names` are the network's; raises UserError for images that don't fit and for bad files.
    """
    if not path.is_file():
        raise UserError(f"{path}: must be a .npz file with x and y, but got no such file")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y") if name in archive.files}
            names = sorted(archive.files)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: must be a .npz archive of plain arrays (numpy.savez), but got: {why}") from None
    for name in ("x", "y"):
        if name not in arrays:
            raise UserError(f"{path}: {name}: must be in the file, but got only {names}")
    x, y = arrays["x"], arrays["y"]
    channels, height, width = shape
    if x.ndim == 3:
        x = x[..., None]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (height, width, channels):
        raise UserError(f"{path}: x: must be uint8 [N, {height}, {width}, {channels}], but got {x.dtype} {x.shape}")
    labels, classes = read_labels(y, len(x), f"{path}: y", class_names), len(class_names)
    if labels.classes not in (None, classes):
        raise UserError(f"{path}: y: must have {classes} columns, one for each class, but got {labels.classes}")
    if labels.classes is None:
        check_from_zero(labels, classes, f"{path}: y")
    if len(x) and (highest := int(labels.labels_n.max())) >= classes:
        raise UserError(f"{path}: y: must be in 0..{classes - 1}, but got {int(labels.labels_n.min())}..{highest}")
    images_nchw = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return ImageSet.of(images_nchw, torch.from_numpy(labels.labels_n.astype(np.int64)), classes)
