"""torchvision's own readers on small files in the official formats; no network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_files import FETCHING, WRITERS, random_images, use_made_up

from aebnas.core.errors import UserError
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import TORCHVISION, DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.torchvision_sets import OFFICIAL

LABELS = {"train": [3, 0, 9, 1, 2], "test": [7, 7, 0, 5, 4]}


def write(name: str, root: Path) -> None:
    """Five images in each part."""
    WRITERS[name](root, random_images(name, 5), LABELS)


@pytest.fixture(autouse=True)
def made_up_files(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_up(monkeypatch)


def spec_of(name: str, **more: Any) -> DataSpec:
    return DataSpec.model_validate({"name": name, "root": "images"} | more)


@pytest.mark.parametrize("name", TORCHVISION)
def test_official_files_are_read(tmp_path: Path, name: str) -> None:
    write(name, tmp_path / "images")
    train, test = load_train(spec_of(name), tmp_path), load_test(spec_of(name), tmp_path)
    images = random_images(name, 5)
    expected = images if images.ndim == 4 else images[:, None]
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
    write(name, tmp_path)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            listed = f"{OFFICIAL[name].folder}/{OFFICIAL[name].files}"
            assert file.name in listed or file.name.startswith("data_batch_")
            assert file.parent == tmp_path or file.parent.name in listed


def test_missing_files_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FETCHING[0], lambda url, root, **_: write("cifar10", Path(root)))
    assert len(load_train(DataSpec(name="cifar10"), tmp_path)) == 25
    assert (tmp_path / "data" / "cifar-10-batches-py").is_dir()  # in `data` unless `root` is given


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    write("mnist", tmp_path / "images")
    (tmp_path / "images/MNIST/raw/train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(UserError, match="must hold MNIST, which cannot be read") as raised:
        load_train(spec_of("mnist"), tmp_path)
    assert "\n" not in str(raised.value)
