"""Labelled image sets, whole in memory.

Training and test part are loaded by two functions, so that whoever searches never touches the test part.
Legend: n pictures, h height, w width, c channels.
"""

import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aebnas.data.config import DataSpec
from aebnas.errors import UserError

DIGITS_TEST_SHARE, DIGITS_SEED = 0.2, 2026


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Pictures `images [n, c, h, w]` (uint8) with `labels [n]` (int64) in `0..classes-1`; n may be 0.

    Raises ValueError for tensors of another type or shape, or labels out of range.
    """

    images: Tensor
    labels: Tensor
    classes: int

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 [n, c, h, w], but got {_told(self.images)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must be int64 [{len(self.images)}], but got {_told(self.labels)}")
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, but got {self.classes}")
        if len(self) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            low, high = int(self.labels.min()), int(self.labels.max())
            raise ValueError(f"labels must be in 0..{self.classes - 1}, but got {low}..{high}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)` of one picture."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, indices: Tensor) -> "ImageSet":
        """The pictures at `indices`, in that order; the number of classes stays."""
        return ImageSet(self.images[indices], self.labels[indices], self.classes)


def load_train(spec: DataSpec, base: Path) -> ImageSet:
    """The official training part; `base` is the folder that relative paths start from. Raises UserError."""
    return _load(spec, base, train=True)


def load_test(spec: DataSpec, base: Path) -> ImageSet:
    """The official test part, which no search may read; `base` as in `load_train`. Raises UserError."""
    return _load(spec, base, train=False)


def _load(spec: DataSpec, base: Path, train: bool) -> ImageSet:
    if spec.name == "npz":
        assert spec.path is not None  # the spec checks it
        return _npz(base / spec.path.expanduser(), train)
    if spec.name == "cifar10":
        return _cifar10(base / (spec.root or Path("data")).expanduser(), train)
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


def _cifar10(root: Path, train: bool) -> ImageSet:
    from torchvision.datasets import CIFAR10

    try:
        with warnings.catch_warnings():
            # The official files are pickles of an old numpy, which new ones warn about.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            try:
                part = CIFAR10(str(root), train=train, download=False)
            except RuntimeError:
                part = CIFAR10(str(root), train=train, download=True)
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{root}: must hold CIFAR-10, which is not there and cannot be downloaded ({reason}); unpack "
            f"cifar-10-python.tar.gz there, so that {root / 'cifar-10-batches-py' / 'data_batch_1'} exists, "
            "or give the pictures as arrays with 'name: npz'"
        ) from None
    return _image_set(part.data, np.asarray(part.targets), classes=10)


def _npz(path: Path, train: bool) -> ImageSet:
    """Arrays `x_train, y_train, x_test, y_test`; the test arrays are opened only for the test part."""
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
        raise UserError(f"{path}: x_test: must hold pictures of shape {train_shape} as x_train, but got {test_shape}")
    highest = int(arrays["y_test"].max())
    if highest >= classes:
        raise UserError(f"{path}: y_test: must be below {classes} (the classes of y_train), but got {highest}")
    return _image_set(arrays["x_test"], arrays["y_test"], classes)


def _read_arrays(path: Path, wanted: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """Read the `wanted` arrays; all four names must be there, so that a lack shows before a long search."""
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
            return {name: _read_array(path, archive, name) for name in wanted}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{not_npz} ({error})") from None


def _read_array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> NDArray[np.generic]:
    try:
        array = archive[name]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: {name}: must be a readable array of plain numbers, but got: {error}") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name}: must be a numpy array, but got other bytes")
    return array


def _check_part(path: Path, arrays: dict[str, NDArray[np.generic]], part: str) -> None:
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if x.dtype != np.uint8:
        raise UserError(f"{path}: x_{part}: must be uint8 (0..255), but got {x.dtype}")
    if x.ndim not in (3, 4):
        raise UserError(f"{path}: x_{part}: must have shape (N, H, W, C) or (N, H, W), but got {x.shape}")
    if x.size == 0:
        raise UserError(f"{path}: x_{part}: must hold at least one picture, but got shape {x.shape}")
    if y.dtype.kind not in "iu":
        raise UserError(f"{path}: y_{part}: must be integers, but got {y.dtype}")
    if y.ndim != 1:
        raise UserError(f"{path}: y_{part}: must have shape (N,), but got {y.shape}")
    if len(y) != len(x):
        raise UserError(f"{path}: y_{part}: must be as long as x_{part} ({len(x)}), but got {len(y)}")
    if y.min() < 0:
        raise UserError(f"{path}: y_{part}: must be 0 or more, but got {y.min()}")


def _image_set(x: NDArray[np.generic], y: NDArray[np.generic], classes: int) -> ImageSet:
    """Arrays `x [n, h, w, c]` or `[n, h, w]` as an ImageSet."""
    x_nhwc = x if x.ndim == 4 else x[..., None]
    images_nchw = torch.from_numpy(np.ascontiguousarray(x_nhwc.transpose(0, 3, 1, 2)))
    return ImageSet(images_nchw, torch.from_numpy(y.astype(np.int64)), classes)


def _told(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
