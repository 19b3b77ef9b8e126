"""torchvision's own readers on small files in the official formats; no network."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from numpy.typing import NDArray

from aebnas.core.errors import UserError
from aebnas.data.class_names import CLASS_NAMES, class_names
from aebnas.data.data_spec import TORCHVISION, DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.torchvision_sets import OFFICIAL

CHECKED = ("torchvision.datasets.cifar.check_integrity", "torchvision.datasets.svhn.check_integrity")
FETCHING = (
    "torchvision.datasets.cifar.download_and_extract_archive",
    "torchvision.datasets.svhn.download_url",
    "torchvision.datasets.mnist.download_and_extract_archive",
)
RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = {"train": [3, 0, 9, 1, 2], "test": [7, 7, 0, 5, 4]}


def write_cifar(root: Path, folder: str, parts: dict[str, str], key: str) -> None:
    """Pickles of rows of 3072 bytes, channel by channel."""
    (root / folder).mkdir(parents=True)
    for file, part in parts.items():
        content: dict[str, Any] = {"data": COLOUR.reshape(5, -1), key: LABELS[part]}
        (root / folder / file).write_bytes(pickle.dumps(content))


def write_cifar10(root: Path) -> None:
    batches = {f"data_batch_{number}": "train" for number in range(1, 6)}
    write_cifar(root, "cifar-10-batches-py", batches | {"test_batch": "test"}, "labels")
    meta = pickle.dumps({"label_names": list(CLASS_NAMES["cifar10"])})
    (root / "cifar-10-batches-py" / "batches.meta").write_bytes(meta)


def write_cifar100(root: Path) -> None:
    write_cifar(root, "cifar-100-python", {"train": "train", "test": "test"}, "fine_labels")
    meta = pickle.dumps({"fine_label_names": list(CLASS_NAMES["cifar100"])})
    (root / "cifar-100-python" / "meta").write_bytes(meta)


def write_svhn(root: Path) -> None:
    """MATLAB arrays, images last; the digit 0 is called 10."""
    root.mkdir(exist_ok=True)
    for part, labels in LABELS.items():
        named = np.array([[label or 10] for label in labels], dtype=np.uint8)
        scipy.io.savemat(root / f"{part}_32x32.mat", {"X": COLOUR.transpose(2, 3, 1, 0), "y": named})


def write_mnist(folder: str) -> Callable[[Path], None]:
    """IDX files: 0, 0, type (8 is uint8), number of axes, sizes, bytes."""

    def idx(array: NDArray[np.uint8]) -> bytes:
        return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()

    def write(root: Path) -> None:
        raw = root / folder / "raw"
        raw.mkdir(parents=True)
        for part, labels in LABELS.items():
            prefix = "t10k" if part == "test" else part
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(GREY))
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.array(labels, dtype=np.uint8)))

    return write


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
    "mnist": write_mnist("MNIST"),
    "fashion_mnist": write_mnist("FashionMNIST"),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files written here have other checksums than the real ones; missing files can't be downloaded."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("<urlopen error no network>")

    for name in CHECKED:
        monkeypatch.setattr(name, lambda path, md5=None: Path(path).is_file())
    for name in FETCHING:
        monkeypatch.setattr(name, refuse)


def spec_of(name: str, **more: Any) -> DataSpec:
    return DataSpec.model_validate({"name": name, "root": "images"} | more)


@pytest.mark.parametrize("name", TORCHVISION)
def test_official_files_are_read(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / "images")
    train, test = load_train(spec_of(name), tmp_path), load_test(spec_of(name), tmp_path)
    expected = COLOUR if name in ("cifar10", "cifar100", "svhn") else GREY[:, None]
    assert torch.equal(test.pixels(), torch.from_numpy(expected))
    assert test.labels.tolist() == LABELS["test"]
    copies = 5 if name == "cifar10" else 1  # five files of training images
    assert torch.equal(train.pixels(), torch.from_numpy(np.concatenate([expected] * copies)))
    assert train.labels.tolist() == LABELS["train"] * copies
    names = class_names(spec_of(name), tmp_path)
    assert names is not None and train.classes == test.classes == len(names) == (100 if name == "cifar100" else 10)


@pytest.mark.parametrize(
    ("name", "folder", "files"),
    [
        ("cifar10", "", ["cifar-10-python.tar.gz", "cifar-10-batches-py/", "data_batch_5", "batches.meta"]),
        ("cifar100", "", ["cifar-100-python.tar.gz", "cifar-100-python/", "train, test and meta"]),
        ("svhn", "", ["train_32x32.mat", "test_32x32.mat"]),
        ("mnist", "MNIST/raw", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]),
        ("fashion_mnist", "FashionMNIST/raw", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]),
    ],
)
def test_without_files_and_network_the_message_lists_the_files_and_their_folder(
    tmp_path: Path, name: str, folder: str, files: list[str]
) -> None:
    root = tmp_path / "images"
    with pytest.raises(UserError) as raised:
        load_train(spec_of(name), tmp_path)
    message = str(raised.value)
    assert message.startswith(f"{root}: must hold {OFFICIAL[name].title}, which cannot be read or downloaded (")
    assert f"; copy to {root / folder}: " in message and "\n" not in message
    assert all(file in message for file in files)


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_message_names_exactly_the_files_that_torchvision_reads(tmp_path: Path, name: str) -> None:
    """The files written here are those torchvision reads, no others; the message names each of them."""
    WRITERS[name](tmp_path)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            listed = f"{OFFICIAL[name].folder}/{OFFICIAL[name].files}"
            assert file.name in listed or file.name.startswith("data_batch_")
            assert file.parent == tmp_path or file.parent.name in listed


def test_missing_files_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FETCHING[0], lambda url, root, **_: write_cifar10(Path(root)))
    assert len(load_train(DataSpec(name="cifar10"), tmp_path)) == 25
    assert (tmp_path / "data" / "cifar-10-batches-py").is_dir()  # in `data` unless `root` is given


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    write_mnist("MNIST")(tmp_path / "images")
    (tmp_path / "images/MNIST/raw/train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(UserError, match="must hold MNIST, which cannot be read") as raised:
        load_train(spec_of("mnist"), tmp_path)
    assert "\n" not in str(raised.value)
