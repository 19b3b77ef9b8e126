import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aebnas.core.errors import UserError
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_set import ImageSet

HERE = Path()
DIGITS = DataSpec(name="digits")
TEST_LABELS, TEST_CHECKSUM = [1, 9, 4, 7, 0, 5, 5, 9, 5, 8], 321513510
NPZ = DataSpec(name="npz", path=Path("set.npz"))


def arrays(**changed: Any) -> dict[str, Any]:
    """Six training and three test images of 2x4 pixels, three channels, three classes."""
    rng = np.random.default_rng(0)
    good = {
        "x_train": rng.integers(0, 256, (6, 2, 4, 3), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8),
        "x_test": rng.integers(0, 256, (3, 2, 4, 3), dtype=np.uint8),
        "y_test": np.array([2, 1, 0]),
        "train_exact": np.ones(6, dtype=bool),
    }
    return {name: array for name, array in (good | changed).items() if array is not None}


def save(folder: Path, **changed: Any) -> Path:
    np.savez(folder / "set.npz", **arrays(**changed))
    return folder


def test_npz_images_become_nchw(tmp_path: Path) -> None:
    source = arrays()
    train, test = load_train(NPZ, save(tmp_path)), load_test(NPZ, tmp_path)
    assert train.shape == test.shape == (3, 2, 4)
    assert (len(train), len(test), train.classes, test.classes) == (6, 3, 3, 3)
    assert train.pixels()[5, 1, 0, 3] == source["x_train"][5, 0, 3, 1]
    assert test.pixels()[2, 2, 1, 0] == source["x_test"][2, 1, 0, 2]
    assert test.labels.tolist() == [2, 1, 0] and test.labels.dtype == torch.int64


def test_npz_without_channel_axis_is_grey(tmp_path: Path) -> None:
    grey = {name: arrays()[name][..., 0] for name in ("x_train", "x_test")}
    train = load_train(NPZ, save(tmp_path, **grey))
    assert train.shape == (1, 2, 4)
    assert np.array_equal(train.pixels()[:, 0], grey["x_train"])


def test_npz_path_may_be_absolute_or_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "set.npz", Path("~/set.npz")):
        assert len(load_train(DataSpec(name="npz", path=path), Path("elsewhere"))) == 6


TRAIN_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"x_test": None}, "x_test: must be in the file, but got only "),
    ({"x_train": np.zeros((6, 2, 4, 3))}, "x_train: must be uint8 (0..255), but got float64"),
    (
        {"x_train": np.zeros((6, 8), np.uint8)},
        "x_train: must have shape (N, H, W, C) or (N, H, W), but got (6, 8)",
    ),
    (
        {"x_train": np.zeros((0, 2, 4, 3), np.uint8), "y_train": np.zeros(0, np.int64)},
        "x_train: must hold at least one image, but got shape (0, 2, 4, 3)",
    ),
    (
        {"x_train": np.array([{}, 1], dtype=object)},
        "x_train: must be a readable array of plain numbers, but got: ",
    ),
    ({"y_train": np.array([0, 1, 2, 0, 1, 1.5])}, "y_train: must be whole numbers, but got 1.5 in row 5"),
    ({"y_train": np.zeros((6, 1, 1), np.int64)}, "y_train: must have shape (N,), (N, 1) or, one-hot, (N, K), but got "),
    ({"y_train": np.array([0, 1, 2])}, "y_train: must have 6 labels, one for each image, but got 3"),
    ({"y_train": np.array([0, 1, 2, 0, 1, -1])}, "y_train: must be at least 0, but got -1"),
    ({"y_train": np.zeros(6, np.int64)}, "y_train: must hold at least 2 classes, but got only label 0"),
    (
        {"y_train": np.array([0, 1, 3, 0, 1, 2**62])},
        f"y_train: must have every class in 0..{2**62}, but got none of class 2",
    ),
]
TEST_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"x_test": np.zeros((3, 2, 4, 3))}, "x_test: must be uint8 (0..255), but got float64"),
    (
        {"x_test": np.zeros((3, 2, 4), np.uint8)},
        "x_test: must hold images of shape (2, 4, 3) as x_train, but got (2, 4)",
    ),
    ({"y_test": np.array([0, 1])}, "y_test: must have 3 labels, one for each image, but got 2"),
    ({"y_test": np.array([0, 1, 3])}, "y_test: must be below 3 (the classes of y_train), but got 3"),
]


@pytest.mark.parametrize(("changed", "message"), TRAIN_FAULTS)
def test_faults_of_the_training_arrays(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    save(tmp_path, **changed)
    for load in (load_train, load_test):
        with pytest.raises(UserError) as raised:
            load(NPZ, tmp_path)
        assert str(raised.value).startswith(f"{tmp_path / 'set.npz'}: {message}")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("changed", "message"), TEST_FAULTS)
def test_faults_of_the_test_arrays_are_ignored_when_training_images_are_loaded(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    load_train(NPZ, save(tmp_path, **changed))
    with pytest.raises(UserError, match=re.escape(message)):
        load_test(NPZ, tmp_path)


def test_a_file_that_is_missing_or_not_an_npz(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set.npz: must be a .npz file, but got no such file"):
        load_train(NPZ, tmp_path)
    for content in (b"", b"no archive", b"\x93NUMPY", b"PK\x03\x04cut short"):
        (tmp_path / "set.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"set.npz: must be a .npz archive of numpy arrays"):
            load_train(NPZ, tmp_path)


def test_damaged_images_are_reported(tmp_path: Path) -> None:
    content = bytearray((save(tmp_path) / "set.npz").read_bytes())
    start = content.index(arrays()["x_train"].tobytes())
    content[start] ^= 255
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"x_train: must be a readable array"):
        load_train(NPZ, tmp_path)


def test_the_test_part_of_digits_is_fixed() -> None:
    train, test = load_train(DIGITS, HERE), load_test(DIGITS, HERE)
    assert (len(train), len(test)) == (1437, 360)
    assert train.shape == test.shape == (1, 8, 8) and train.classes == 10
    assert int(train.pixels().max()) == 255
    # recorded values: another cut would make all published figures on digits incomparable
    assert test.labels[:10].tolist() == TEST_LABELS
    assert int((test.pixels().long() * torch.arange(1, 361)[:, None, None, None]).sum()) == TEST_CHECKSUM


def test_digits_parts_are_disjoint_and_ignore_the_spec() -> None:
    def pixels(images: ImageSet) -> set[bytes]:
        return {image.numpy().tobytes() for image in images.pixels()}

    train, test = load_train(DIGITS, HERE), load_test(DIGITS, HERE)
    assert not pixels(train) & pixels(test)
    assert len(pixels(train) | pixels(test)) == 1797
    other = load_test(DataSpec.model_validate({"name": "digits", "splits": {"seed": 1, "search": 0.2}}), HERE)
    assert torch.equal(other.pixels(), test.pixels())
    shares = test.labels.bincount() / len(test) - train.labels.bincount() / len(train)
    assert shares.abs().max() < 0.005


def test_class_names_are_those_given_or_those_of_the_set(tmp_path: Path) -> None:
    assert class_names(DataSpec(name="npz", path=Path("a.npz")), tmp_path) is None
    assert class_names(DataSpec(name="digits", class_names=("a", "b")), tmp_path) == ("a", "b")
    assert class_names(DataSpec(name="cifar100"), tmp_path)[23] == "cloud"  # type: ignore[index]
    for kind in ("wolf", "fox"):
        (tmp_path / "set" / "train" / kind).mkdir(parents=True)
        (tmp_path / "set" / "test" / kind).mkdir(parents=True)
    folder = DataSpec(name="folder", path=Path("set"), resolution=8)
    assert class_names(folder, tmp_path) == ("fox", "wolf")


def test_real_images() -> None:
    folder = os.environ.get("AEBNAS_DATA")
    if not folder or not (Path(folder) / "cifar10_mini.npz").is_file():
        pytest.skip("set AEBNAS_DATA to the folder that holds cifar10_mini.npz")
    spec = DataSpec(name="npz", path=Path("cifar10_mini.npz"))
    train, test = load_train(spec, Path(folder)), load_test(spec, Path(folder))
    assert train.pixels().shape == (5000, 3, 32, 32) and test.pixels().shape == (1000, 3, 32, 32)
    assert train.labels.bincount().tolist() == [500] * 10 and test.labels.bincount().tolist() == [100] * 10
