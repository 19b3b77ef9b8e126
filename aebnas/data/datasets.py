"""The image sets by name.

Training and test part are loaded by two functions, so that a search never reads the test part.
Legend: n images, h height, w width, c channels.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aebnas.core.errors import UserError
from aebnas.data.class_names import CLASS_NAMES, data_path, location
from aebnas.data.data_spec import DataSpec
from aebnas.data.image_folder import Files, load_listed
from aebnas.data.image_set import ImageSet
from aebnas.data.label_arrays import Labels, check_from_zero, read_labels
from aebnas.data.listing import Part, list_images
from aebnas.data.torchvision_sets import OFFICIAL, read_official
from aebnas.data.unreadable_files import without_unreadable

DIGITS_TEST_SHARE, DIGITS_SEED = 0.2, 2026


def load_train(spec: DataSpec, base: Path) -> ImageSet:
    """The official training part; `base` is the folder that relative paths start from.

    Raises UserError for data that is missing or damaged.
    """
    return _load(spec, base, train=True)


def load_test(spec: DataSpec, base: Path) -> ImageSet:
    """The official test part, which no search may read; `base` and errors as in `load_train`."""
    return _load(spec, base, train=False)


def _load(spec: DataSpec, base: Path, train: bool) -> ImageSet:
    if spec.name == "npz":
        return _npz(data_path(spec, base), train)
    if spec.in_files:
        assert spec.resolution is not None  # the spec checks it
        reader = spec.reader((spec.channels, spec.resolution, spec.resolution))
        part: Part = "train" if train else "test"
        listing = list_images(spec, base, part)
        if spec.unreadable == "leave_out":
            listing = without_unreadable(listing, part, Files(listing.files, reader), spec.loaders)
        return load_listed(listing, reader)
    if spec.name in OFFICIAL:
        place = location(spec, base)
        assert place is not None
        pixels, labels_n = read_official(spec.name, place, train)
        return _image_set(pixels, labels_n, classes=len(CLASS_NAMES[spec.name]))
    return _digits(train)


def _digits(train: bool) -> ImageSet:
    """Scikit-learn's 8x8 digits, which have no official split: a fixed stratified fifth is the test part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels_nhw, labels_n = load_digits(return_X_y=True)
    pixels_nhw = np.round(pixels_nhw.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    parts = train_test_split(
        np.arange(len(labels_n)), test_size=DIGITS_TEST_SHARE, stratify=labels_n, random_state=DIGITS_SEED
    )
    indices = np.sort(parts[0] if train else parts[1])
    return _image_set(pixels_nhw[indices], labels_n[indices], classes=10)


def _npz(path: Path, train: bool) -> ImageSet:
    """Arrays `x_train, y_train, x_test, y_test`; the test arrays are read only for the test part."""
    arrays = _read_arrays(path, ("x_train", "y_train") if train else ("x_train", "y_train", "x_test", "y_test"))
    known = _checked_labels(path, arrays, "train")
    classes = _number_of_classes(known, f"{path}: y_train")
    if train:
        return _image_set(arrays["x_train"], known.labels_n, classes)
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
    return _image_set(arrays["x_test"], tested.labels_n, classes)


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


def _read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """Read the arrays `names`; all four must be in the file, so that a missing one shows before a long search."""
    not_npz = f"{path}: must be a .npz archive of numpy arrays (numpy.savez), but got something else"
    try:
        if not path.is_file():
            raise UserError(f"{path}: must be a .npz file, but got no such file")
        if not zipfile.is_zipfile(path):
            raise UserError(not_npz)
        with np.load(path, allow_pickle=False) as archive:
            for name in ("x_train", "y_train", "x_test", "y_test"):
                if name not in archive.files:
                    raise UserError(f"{path}: {name}: must be in the file, but got only {sorted(archive.files)}")
            return {name: _read_array(path, archive, name) for name in names}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{not_npz} ({error})") from None


def _read_array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> NDArray[np.generic]:
    try:
        array = archive[name]
    except (ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        hint = " (labels: y.astype(str) makes text of objects)" if "Object arrays" in str(error) else ""
        raise UserError(f"{path}: {name}: must be a readable array of plain numbers, but got: {error}{hint}") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name}: must be a numpy array in .npy format, but got other bytes")
    return array


def _checked_labels(
    path: Path, arrays: dict[str, NDArray[np.generic]], part: str, names: tuple[str, ...] | None = None
) -> Labels:
    """The labels of a part; raises UserError unless they and its images are of types and shapes that fit."""
    x = arrays[f"x_{part}"]
    if x.dtype != np.uint8:
        raise UserError(f"{path}: x_{part}: must be uint8 (0..255), but got {x.dtype}")
    if x.ndim not in (3, 4):
        raise UserError(f"{path}: x_{part}: must have shape (N, H, W, C) or (N, H, W), but got {x.shape}")
    if x.size == 0:
        raise UserError(f"{path}: x_{part}: must hold at least one image, but got shape {x.shape}")
    return read_labels(arrays[f"y_{part}"], len(x), f"{path}: y_{part}", names)


def _image_set(x: NDArray[np.generic], y: NDArray[np.generic], classes: int) -> ImageSet:
    """Arrays `x [n, h, w, c]` or `[n, h, w]` as an ImageSet."""
    x_nhwc = x if x.ndim == 4 else x[..., None]
    images_nchw = torch.from_numpy(np.ascontiguousarray(x_nhwc.transpose(0, 3, 1, 2)))
    return ImageSet.of(images_nchw, torch.from_numpy(y.astype(np.int64)), classes)
