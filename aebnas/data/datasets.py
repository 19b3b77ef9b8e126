"""The image sets by name.

Training and test part are loaded by two functions: a search uses the test part only to check that it can be read.
Legend: n images, h height, w width, c channels.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aebnas.data.arrays.array_file import read_test, read_train
from aebnas.data.class_names import CLASS_NAMES, data_path, location
from aebnas.data.data_spec import DataSpec
from aebnas.data.image_files.files import Files, load_listed
from aebnas.data.image_files.listing import Part, list_images
from aebnas.data.image_files.unreadable_files import without_unreadable
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
        path = data_path(spec, base)
        return _image_set(*(read_train(path) if train else read_test(path)))
    if spec.in_files:
        assert spec.resolution is not None  # the spec checks it
        reader = spec.reader((spec.channels, spec.resolution.height, spec.resolution.width))
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


def _image_set(x: NDArray[np.generic], y: NDArray[np.generic], classes: int) -> ImageSet:
    """Arrays `x [n, h, w, c]` or `[n, h, w]` as an ImageSet."""
    x_nhwc = x if x.ndim == 4 else x[..., None]
    images_nchw = torch.from_numpy(np.ascontiguousarray(x_nhwc.transpose(0, 3, 1, 2)))
    return ImageSet.of(images_nchw, torch.from_numpy(y.astype(np.int64)), classes)
