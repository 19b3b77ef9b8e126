"""Labelled images from an .npz of two arrays, for a network that exists already."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from aebnas.core.errors import UserError
from aebnas.data.image_set import ImageSet


def load_labelled(path: Path, shape: tuple[int, int, int], classes: int) -> ImageSet:
    """Read `x` (uint8 `[N, H, W, C]` or `[N, H, W]`) and `y` (whole numbers from 0, `[N]`) of a file.

    `shape` (c, h, w) and `classes` are the network's; raises UserError for images that don't fit and for bad files.
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
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise UserError(f"{path}: y: must be {len(x)} whole numbers, one for each image, but got {y.dtype} {y.shape}")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise UserError(f"{path}: y: must be in 0..{classes - 1}, but got {int(y.min())}..{int(y.max())}")
    images_nchw = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return ImageSet.of(images_nchw, torch.from_numpy(y.astype(np.int64)), classes)
