"""Labelled images in an .npz file: arrays `x_train, y_train, x_test, y_test`. Imports no torch.

Legend: n images, h height, w width, c channels.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aebnas.core.errors import UserError

Array = NDArray[np.generic]
NAMES = ("x_train", "y_train", "x_test", "y_test")


def read_train(path: Path) -> tuple[Array, Array, int]:
    """The training images (uint8 `[n, h, w, c]` or `[n, h, w]`), their labels `[n]` and the number of classes.

    Raises UserError for a file that is missing, damaged or of other arrays.
    """
    arrays = _read_arrays(path, ("x_train", "y_train"))
    return arrays["x_train"], arrays["y_train"], _classes(path, arrays)


def read_test(path: Path) -> tuple[Array, Array, int]:
    """The test images and their labels, which must fit the training part; as `read_train`."""
    arrays = _read_arrays(path, ("y_train", "x_test", "y_test"), headers=("x_train",))
    classes = _classes(path, arrays)
    _check_part(path, arrays, "test")
    train_shape, test_shape = arrays["x_train"].shape[1:], arrays["x_test"].shape[1:]
    if test_shape != train_shape:
        raise UserError(f"{path}: x_test: must hold images of shape {train_shape} as x_train, but got {test_shape}")
    highest = int(arrays["y_test"].max())
    if highest >= classes:
        raise UserError(f"{path}: y_test: must be below {classes} (the classes of y_train), but got {highest}")
    return arrays["x_test"], arrays["y_test"], classes


def read_train_shape(path: Path) -> tuple[tuple[int, ...], Array, int]:
    """Shape of the array of training images, their labels and the number of classes, without reading any image."""
    arrays = _read_arrays(path, ("y_train",), headers=("x_train",))
    return arrays["x_train"].shape, arrays["y_train"], _classes(path, arrays)


def _classes(path: Path, arrays: dict[str, Array]) -> int:
    """The number of classes of the training part, which is checked."""
    _check_part(path, arrays, "train")
    labels_n = arrays["y_train"]
    classes = int(labels_n.max()) + 1
    if classes < 2:
        raise UserError(f"{path}: y_train: must hold at least 2 classes, but got only label 0")
    present = np.unique(labels_n)
    if len(present) < classes:
        missing = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise UserError(f"{path}: y_train: must have every class in 0..{classes - 1}, but got none of class {missing}")
    return classes


def _read_arrays(path: Path, names: tuple[str, ...], headers: tuple[str, ...] = ()) -> dict[str, Array]:
    """Read the arrays `names`, and of `headers` shape and type alone; all four must be in the file, so that a missing
    one shows before a long search."""
    not_npz = f"{path}: must be a .npz archive of numpy arrays (numpy.savez), but got something else"
    try:
        if not path.is_file():
            raise UserError(f"{path}: must be a .npz file, but got no such file")
        if not zipfile.is_zipfile(path):
            raise UserError(not_npz)
        with np.load(path, allow_pickle=False) as archive:
            for name in NAMES:
                if name not in archive.files:
                    raise UserError(f"{path}: {name}: must be in the file, but got only {sorted(archive.files)}")
            read = dict.fromkeys(headers, _read_header) | dict.fromkeys(names, _read_array)
            return {name: read[name](path, archive, name) for name in NAMES if name in read}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{not_npz} ({error})") from None


def _read_array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> Array:
    with _readable(path, name):
        array = archive[name]
        if not isinstance(array, np.ndarray):
            raise _OtherBytes
        return array


def _read_header(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> Array:
    """An array of the same shape and type whose elements take no memory, all 0."""
    with _readable(path, name):
        member = f"{name}.npy"
        if archive.zip is None or member not in archive.zip.namelist():
            raise _OtherBytes
        with archive.zip.open(member) as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                raise _OtherBytes
            file.seek(0)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            if dtype.hasobject:
                raise ValueError("objects")
            expected, size = math.prod(shape) * dtype.itemsize, archive.zip.getinfo(member).file_size - file.tell()
            if size != expected:
                raise ValueError(f"{size:,} bytes for shape {shape}, which takes {expected:,}")
            return np.broadcast_to(np.zeros((), dtype), shape)


class _OtherBytes(Exception):
    """Something in the archive that isn't an array."""


@contextmanager
def _readable(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except _OtherBytes:
        raise UserError(f"{path}: {name}: must be a numpy array in .npy format, but got other bytes") from None
    except (ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: {name}: must be a readable array of plain numbers, but got: {error}") from None


def _check_part(path: Path, arrays: dict[str, Array], part: str) -> None:
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if x.dtype != np.uint8:
        raise UserError(f"{path}: x_{part}: must be uint8 (0..255), but got {x.dtype}")
    if x.ndim not in (3, 4):
        raise UserError(f"{path}: x_{part}: must have shape (N, H, W, C) or (N, H, W), but got {x.shape}")
    if x.size == 0:
        raise UserError(f"{path}: x_{part}: must hold at least one image, but got shape {x.shape}")
    if y.dtype.kind not in "iu":
        raise UserError(f"{path}: y_{part}: must be integers, but got {y.dtype}")
    if y.ndim != 1:
        raise UserError(f"{path}: y_{part}: must have shape (N,), but got {y.shape}")
    if len(y) != len(x):
        raise UserError(f"{path}: y_{part}: must have {len(x)} labels, one for each image, but got {len(y)}")
    if y.min() < 0:
        raise UserError(f"{path}: y_{part}: must be at least 0, but got {y.min()}")
