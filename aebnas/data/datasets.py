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
from aebnas.data.image_folder import load_folder
from aebnas.data.image_set import ImageSet
from aebnas.data.torchvision_sets import OFFICIAL, read_official

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
    if spec.name == "folder":
        assert spec.resolution is not None  # the spec checks it
        reader = spec.reader((spec.channels, spec.resolution, spec.resolution))
        return load_folder(data_path(spec, base), reader, train, spec.follow_links)
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
    _check_part(path, arrays, "train")
    labels_n = arrays["y_train"]
    classes = int(labels_n.max()) + 1
    if classes < 2:
        raise UserError(f"{path}: y_train: must hold at least 2 classes, but got only label 0")
    present = np.unique(labels_n)
    if len(present) < classes:
        missing = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise UserError(f"{path}: y_train: must have every class in 0..{classes - 1}, but got none of class {missing}")
    if train:
        return _image_set(arrays["x_train"], labels_n, classes)
    _check_part(path, arrays, "test")
    train_shape, test_shape = arrays["x_train"].shape[1:], arrays["x_test"].shape[1:]
    if test_shape != train_shape:
        raise UserError(f"{path}: x_test: must hold images of shape {train_shape} as x_train, but got {test_shape}")
    highest = int(arrays["y_test"].max())
    if highest >= classes:
        raise UserError(f"{path}: y_test: must be below {classes} (the classes of y_train), but got {highest}")
    return _image_set(arrays["x_test"], arrays["y_test"], classes)


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
        raise UserError(f"{path}: {name}: must be a readable array of plain numbers, but got: {error}") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name}: must be a numpy array in .npy format, but got other bytes")
    return array


def _check_part(path: Path, arrays: dict[str, NDArray[np.generic]], part: str) -> None:
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


def _image_set(x: NDArray[np.generic], y: NDArray[np.generic], classes: int) -> ImageSet:
    """Arrays `x [n, h, w, c]` or `[n, h, w]` as an ImageSet."""
    x_nhwc = x if x.ndim == 4 else x[..., None]
    images_nchw = torch.from_numpy(np.ascontiguousarray(x_nhwc.transpose(0, 3, 1, 2)))
    return ImageSet.of(images_nchw, torch.from_numpy(y.astype(np.int64)), classes)
