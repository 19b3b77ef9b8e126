"""torchvision's image sets: read from their official files, or downloaded."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aebnas.core.errors import UserError


@dataclass(frozen=True)
class Official:
    """A set's class in torchvision, and the files that torchvision reads.

    `files` (a text for error messages) go into `folder` below the root.
    """

    title: str
    torchvision_class: str
    folder: str
    files: str
    labels: str = "targets"
    channels_first: bool = False


_MNIST_FILES = (
    "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz"
)
OFFICIAL = {
    "cifar10": Official(
        "CIFAR-10",
        "CIFAR10",
        "",
        "cifar-10-python.tar.gz (or, unpacked, cifar-10-batches-py/ with data_batch_1 to data_batch_5, test_batch "
        "and batches.meta)",
    ),
    "cifar100": Official(
        "CIFAR-100",
        "CIFAR100",
        "",
        "cifar-100-python.tar.gz (or, unpacked, cifar-100-python/ with train, test and meta)",
    ),
    "svhn": Official("SVHN", "SVHN", "", "train_32x32.mat and test_32x32.mat", labels="labels", channels_first=True),
    "mnist": Official("MNIST", "MNIST", "MNIST/raw", f"{_MNIST_FILES} (or the same files unpacked, without .gz)"),
    "fashion_mnist": Official(
        "Fashion-MNIST",
        "FashionMNIST",
        "FashionMNIST/raw",
        f"{_MNIST_FILES} (or the same files unpacked, without .gz)",
    ),
}


def read_official(name: str, root: Path, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 `[n, h, w, c]` or `[n, h, w]` and labels `[n]` of a set of `OFFICIAL`.

    Downloaded where they aren't in `root`; if that fails, raises UserError, which lists the files and their folder.
    """
    import torchvision.datasets

    official = OFFICIAL[name]
    part: dict[str, Any] = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    make = getattr(torchvision.datasets, official.torchvision_class)
    try:
        with warnings.catch_warnings():
            # CIFAR's files are pickles of an old numpy, which newer ones warn about
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            try:
                data = make(str(root), download=False, **part)
            except RuntimeError:
                data = make(str(root), download=True, **part)
        pixels = np.asarray(data.data)
        labels = np.asarray(getattr(data, official.labels), dtype=np.int64)
    except Exception as error:  # no network, a full disk, or files with other content than their names promise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{root}: must hold {official.title}, which cannot be read or downloaded ({reason}); copy to "
            f"{root / official.folder}: {official.files}"
        ) from None
    return (pixels.transpose(0, 2, 3, 1) if official.channels_first else pixels), labels
