"""The shape of an image set's images and its number of classes, before any image is read. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from aebnas.data.arrays.array_file import read_test_labels, read_train_shape
from aebnas.data.class_names import CLASS_NAMES, data_path, own_class_names
from aebnas.data.data_spec import DataSpec

PUBLIC_IMAGES = {
    "digits": (1, 8, 8),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "svhn": (3, 32, 32),
    "mnist": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
}
"""Shape (c, h, w) of the images of the public sets."""


@dataclass(frozen=True)
class DataShape:
    """`image` is the shape (c, h, w) of every image as networks get it, `classes` the number of classes."""

    image: tuple[int, int, int]
    classes: int


def data_shape(spec: DataSpec, base: Path) -> DataShape:
    """The shape of a set's training part; `base` is where relative paths of `spec` start.

    Of files the names of classes are read, of an .npz file headers and training labels, of public sets nothing. Raises
    UserError for data that are missing or damaged there.
    """
    if spec.in_files:
        names = own_class_names(spec, base)
        assert spec.resolution is not None and names is not None  # the spec checks it; files have names of classes
        return DataShape((spec.channels, spec.resolution.height, spec.resolution.width), len(names))
    if spec.name == "npz":
        (_, height, width, *channels), _, count = read_train_shape(data_path(spec, base))
        return DataShape((channels[0] if channels else 1, height, width), count)
    return DataShape(PUBLIC_IMAGES[spec.name], len(CLASS_NAMES[spec.name]))


def check_test_labels(spec: DataSpec, base: Path) -> None:
    """Raise UserError for test labels of an .npz file that don't fit the training part, so that what `evaluate` would
    refuse shows before a long search; of files the names are checked when they are listed."""
    if spec.name == "npz":
        read_test_labels(data_path(spec, base))
