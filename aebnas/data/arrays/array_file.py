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
from aebnas.data.arrays.label_arrays import Labels, check_from_zero, read_labels

Array = NDArray[np.generic]
NAMES = ("x_train", "y_train", "x_test", "y_test")


def read_train(path: Path) -> tuple[Array, Array, int]:
    """The training images (uint8 `[n, h, w, c]` or `[n, h, w]`), their labels `[n]` and the number of classes.

    Raises UserError for a file that is missing, damaged or of other arrays.
    """
    arrays = _read_arrays(path, ("x_train", "y_train"))
    known = _checked_labels(path, arrays, "train")
    return arrays["x_train"], known.labels_n, _number_of_classes(known, f"{path}: y_train")


def read_test(path: Path) -> tuple[Array, Array, int]:
    """The test images and their labels, which must fit the training part; as `read_train`."""
    arrays = _read_arrays(path, ("y_train", "x_test", "y_test"), headers=("x_train",))
    return arrays["x_test"], *_test_labels(path, arrays)


def _test_labels(path: Path, arrays: dict[str, Array]) -> tuple[Array, int]:
    """The test labels and the number of classes."""
    known = _checked_labels(path, arrays, "train")
    classes = _number_of_classes(known, f"{path}: y_train")
    tested = _checked_labels(path, arrays, "test", known.names)
    train_shape, test_shape = arrays["x_train"].shape[1:], arrays["x_test"].shape[1:]
    if test_shape != train_shape:
        raise UserError(f"{path}: x_test: must hold images of shape {train_shape} as x_train, but got {test_shape}")
    if (tested.names is None) != (known.names is None):
        kinds = ["numbers" if labels.names is None else "text" for labels in (known, tested)]
        raise UserError(f"{path}: y_test: must be {kinds[0]} as y_train, but got {kinds[1]}")
    if tested.classes not in (None, classes):
        raise UserError(
            f"{path}: y_test: must have {classes} columns (the classes of y_train), but got {tested.classes}"
        )
    highest = int(tested.labels_n.max())
    if highest >= classes:
        raise UserError(f"{path}: y_test: must be below {classes} (the classes of y_train), but got {highest}")
    return tested.labels_n, classes


def read_test_labels(path: Path) -> Array:
    """The test labels alone, without reading any image; errors as in `read_test`."""
    return _test_labels(path, _read_arrays(path, ("y_train", "y_test"), headers=("x_train", "x_test")))[0]


def read_train_shape(path: Path) -> tuple[tuple[int, ...], Array, int]:
    """Shape of the array of training images, their labels and the number of classes, without reading any image."""
    arrays = _read_arrays(path, ("y_train",), headers=("x_train",))
    known = _checked_labels(path, arrays, "train")
    return arrays["x_train"].shape, known.labels_n, _number_of_classes(known, f"{path}: y_train")


def text_classes(path: Path) -> tuple[str, ...] | None:
    """Names of the classes of arrays whose labels are text; None for numbers, and for a file that can't be read, which
    is reported when it is loaded."""
    try:
        if _read_arrays(path, (), headers=("y_train",))["y_train"].dtype.kind not in "US":
            return None  # the rest isn't read: one-hot labels may be large
        labels = _read_arrays(path, ("y_train",))["y_train"]
        return read_labels(labels, len(labels), f"{path}: y_train").names
    except UserError:
        return None


def _number_of_classes(labels: Labels, where: str) -> int:
    """The number of classes of training labels, each of which must be there."""
    classes = labels.classes or int(labels.labels_n.max()) + 1
    if classes < 2:
        raise UserError(f"{where}: must hold at least 2 classes, but got only label 0")
    present = np.unique(labels.labels_n)
    if len(present) < classes:
        if labels.classes is None and len(present) == classes - 1:
            check_from_zero(labels, classes - 1, where)
        expected = np.arange(len(present))
        missing = int(np.append(np.flatnonzero(present != expected), len(present))[0])
        raise UserError(f"{where}: must have every class in 0..{classes - 1}, but got none of class {missing}")
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
                raise ValueError("Object arrays cannot be loaded")
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
        hint = " (labels: y.astype(str) makes text of objects)" if "bject" in str(error) else ""
        raise UserError(f"{path}: {name}: must be a readable array of plain numbers, but got: {error}{hint}") from None


def _checked_labels(path: Path, arrays: dict[str, Array], part: str, names: tuple[str, ...] | None = None) -> Labels:
    """The labels of a part; raises UserError unless they and its images are of types and shapes that fit."""
    x = arrays[f"x_{part}"]
    if x.dtype != np.uint8:
        raise UserError(f"{path}: x_{part}: must be uint8 (0..255), but got {x.dtype}")
    if x.ndim not in (3, 4):
        raise UserError(f"{path}: x_{part}: must have shape (N, H, W, C) or (N, H, W), but got {x.shape}")
    if x.size == 0:
        raise UserError(f"{path}: x_{part}: must hold at least one image, but got shape {x.shape}")
    return read_labels(arrays[f"y_{part}"], len(x), f"{path}: y_{part}", names)
