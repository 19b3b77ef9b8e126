"""torchvision's sets as small made-up files in the official formats, for tests without a network."""

import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from aebnas.data.class_names import CLASS_NAMES

Labels = Mapping[str, list[int]]
"""Those of the parts `train` and `test`, which have the first of the images, one for each label."""
CHECKED = ("torchvision.datasets.cifar.check_integrity", "torchvision.datasets.svhn.check_integrity")
FETCHING = (
    "torchvision.datasets.cifar.download_and_extract_archive",
    "torchvision.datasets.svhn.download_url",
    "torchvision.datasets.mnist.download_and_extract_archive",
)
COLOUR = ("cifar10", "cifar100", "svhn")
"""The sets of 3 x 32 x 32 images; others are of 28 x 28."""


def use_made_up(patch: pytest.MonkeyPatch) -> None:
    """Files written here have other checksums than the real ones; missing files can't be downloaded."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("<urlopen error no network>")

    for name in CHECKED:
        patch.setattr(name, lambda path, md5=None: Path(path).is_file())
    for name in FETCHING:
        patch.setattr(name, refuse)


def random_images(name: str, count: int) -> NDArray[np.uint8]:
    """Images uint8 `[count, c, h, w]` in colour or `[count, h, w]` in grey."""
    shape = (count, 3, 32, 32) if name in COLOUR else (count, 28, 28)
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def _write_cifar(
    folder: Path, parts: dict[str, str], key: str, images: NDArray[np.uint8], labels: Labels, meta: dict[str, Any]
) -> None:
    """Pickles of rows of 3072 bytes, channel by channel."""
    folder.mkdir(parents=True)
    for file, part in parts.items():
        rows = images[: len(labels[part])].reshape(len(labels[part]), -1)
        content: dict[str, Any] = {"data": rows, key: labels[part]}
        (folder / file).write_bytes(pickle.dumps(content))
    (folder / ("batches.meta" if key == "labels" else "meta")).write_bytes(pickle.dumps(meta))


def _write_cifar10(root: Path, images: NDArray[np.uint8], labels: Labels) -> None:
    parts = {f"data_batch_{number}": "train" for number in range(1, 6)} | {"test_batch": "test"}
    meta = {"label_names": list(CLASS_NAMES["cifar10"])}
    _write_cifar(root / "cifar-10-batches-py", parts, "labels", images, labels, meta)


def _write_cifar100(root: Path, images: NDArray[np.uint8], labels: Labels) -> None:
    meta = {"fine_label_names": list(CLASS_NAMES["cifar100"])}
    parts = {"train": "train", "test": "test"}
    _write_cifar(root / "cifar-100-python", parts, "fine_labels", images, labels, meta)


def _write_svhn(root: Path, images: NDArray[np.uint8], labels: Labels) -> None:
    """MATLAB arrays, images last; the digit 0 is called 10."""
    root.mkdir(exist_ok=True, parents=True)
    for part, digits in labels.items():
        named = np.array([[digit or 10] for digit in digits], dtype=np.uint8)
        scipy.io.savemat(root / f"{part}_32x32.mat", {"X": images[: len(digits)].transpose(2, 3, 1, 0), "y": named})


def _write_mnist(folder: str) -> Callable[[Path, NDArray[np.uint8], Labels], None]:
    """IDX files: 0, 0, type (8 is uint8), number of axes, sizes, bytes."""

    def idx(array: NDArray[np.uint8]) -> bytes:
        return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()

    def write(root: Path, images: NDArray[np.uint8], labels: Labels) -> None:
        raw = root / folder / "raw"
        raw.mkdir(parents=True)
        for part, digits in labels.items():
            prefix = "t10k" if part == "test" else part
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images[: len(digits)]))
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.array(digits, dtype=np.uint8)))

    return write


WRITERS = {
    "cifar10": _write_cifar10,
    "cifar100": _write_cifar100,
    "svhn": _write_svhn,
    "mnist": _write_mnist("MNIST"),
    "fashion_mnist": _write_mnist("FashionMNIST"),
}
"""What writes the files of a set into a root folder."""
