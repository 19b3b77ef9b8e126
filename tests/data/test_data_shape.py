"""What is known of image sets before any image is read, against what is read of them."""

from pathlib import Path

import numpy as np
import pytest

from aebnas.core.errors import UserError
from aebnas.data.data_shape import PUBLIC_IMAGES, data_shape
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_train
from aebnas.data.torchvision_sets import OFFICIAL

NPZ = DataSpec(name="npz", path=Path("set.npz"))


def save(folder: Path, x: np.ndarray, y: np.ndarray, compressed: bool = False) -> None:
    (np.savez_compressed if compressed else np.savez)(folder / "set.npz", x_train=x, y_train=y, x_test=x, y_test=y)


@pytest.mark.parametrize("shape", [(6, 5, 7), (6, 5, 7, 1), (6, 8, 8, 3), (6, 4, 4, 5)])
@pytest.mark.parametrize("compressed", [False, True])
def test_arrays(tmp_path, shape, compressed):
    save(tmp_path, np.zeros(shape, np.uint8), np.arange(6) % 3, compressed)
    shown, read = data_shape(NPZ, tmp_path), load_train(NPZ, tmp_path)
    assert (shown.image, shown.classes) == (read.shape, read.classes)


def test_digits(tmp_path):
    digits = DataSpec(name="digits")
    shown, read = data_shape(digits, tmp_path), load_train(digits, tmp_path)
    assert (shown.image, shown.classes) == (read.shape, read.classes)


def test_public_sets_are_known_without_their_files(tmp_path):
    assert {"digits", *OFFICIAL} == set(PUBLIC_IMAGES)
    for name in PUBLIC_IMAGES:
        assert data_shape(DataSpec(name=name), tmp_path).classes >= 10


def test_images_are_not_read(tmp_path):
    save(tmp_path, np.zeros((6, 64, 64), np.uint8), np.arange(6) % 2)
    content = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "set.npz").write_bytes(content.replace(b"\0" * 300, b"\1" * 300, 1))
    assert data_shape(NPZ, tmp_path).image == (1, 64, 64)
    with pytest.raises(UserError, match="x_train: must be a readable array"):
        load_train(NPZ, tmp_path)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.zeros((6, 8, 8), np.float32), np.arange(6) % 2, "x_train: must be uint8"),
        (np.zeros((6, 8), np.uint8), np.arange(6) % 2, "x_train: must have shape"),
        (np.zeros((6, 8, 8), np.uint8), np.arange(5) % 2, "y_train: "),
        (np.zeros((6, 8, 8), np.uint8), np.zeros(6, int), "y_train: must hold at least 2 classes"),
    ],
)
def test_faults_are_those_of_loading(tmp_path, x, y, message):
    save(tmp_path, x, y)
    errors = []
    for read in (data_shape, load_train):
        with pytest.raises(UserError, match=message) as raised:
            read(NPZ, tmp_path)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]
