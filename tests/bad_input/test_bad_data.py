"""Data that can't be searched on, given to `aebnas search`: reported in one line before a run is created."""

import io
import os
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_run import EXPERIMENT, SPACE

N = 60


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Sound arrays of two classes with some replaced; None takes one away."""
    x, y = changes.get("x_train"), np.arange(N) % 2
    if x is None or x.dtype != np.uint8 or x.ndim < 3:
        x = np.zeros((N, 8, 8), np.uint8)
    sound = {"x_train": x, "y_train": y, "x_test": x[:8], "y_test": y[:8]} | changes
    return {name: array for name, array in sound.items() if array is not None}


def npz(**changes: Any) -> bytes:
    """The bytes of such a file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays(**changes))
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    """An archive of any bytes in the places of the arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", members.get(name, b"no array"))
    return buffer.getvalue()


def claims(shape: tuple[int, ...]) -> bytes:
    """An array's header without the array."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def floats(value: float) -> np.ndarray:
    return np.full((N, 8, 8), value, np.float32)


Y = np.arange(N) % 2
NPZ: dict[str, tuple[bytes, str]] = {
    "images as floats": (npz(x_train=floats(0.5)), "x_train: must be uint8 (0..255), but got float32"),
    "NaN in images": (npz(x_train=floats(np.nan)), "x_train: must be uint8 (0..255), but got float32"),
    "wide integers": (npz(x_train=np.zeros((N, 8, 8), np.int64)), "x_train: must be uint8 (0..255), but got int64"),
    "booleans": (npz(x_train=np.zeros((N, 8, 8), bool)), "x_train: must be uint8 (0..255), but got bool"),
    "flat images": (npz(x_train=np.zeros((N, 64), np.uint8)), "x_train: must have shape (N, H, W, C) or (N, H, W), "),
    "films": (npz(x_train=np.zeros((N, 2, 8, 8, 1), np.uint8)), "x_train: must have shape (N, H, W, C) or (N, H, W), "),
    "no images": (npz(x_train=np.zeros((0, 8, 8), np.uint8)), "x_train: must hold at least one image, but got sha"),
    "fewer labels": (
        npz(y_train=Y[:-1]),
        "y_train: must have 60 labels, one for each image, but got 59",
    ),
    "more images": (
        npz(x_train=np.zeros((N + 1, 8, 8), np.uint8)),
        "y_train: must have 61 labels, one for each ",
    ),
    "a negative label": (npz(y_train=Y - 1), "y_train: must be at least 0, but got -1"),
    "a label far out": (npz(y_train=Y.astype(np.uint64) * (2**64 - 1)), "y_train: must have every class in 0..1844674"),
    "one class": (npz(y_train=Y * 0), "y_train: must hold at least 2 classes, but got only label 0"),
    "labels from 1": (npz(y_train=Y + 1), "y_train: must count classes from 0, but got 1..2 (subtract 1)"),
    "an empty class": (npz(y_train=Y * 2), "y_train: must have every class in 0..2, but got none of class 1"),
    "no labels": (npz(y_train=None), "y_train: must be in the file, but got only ['x_test', 'x_train', 'y_test']"),
    "no test images": (
        npz(x_test=None),
        "x_test: must be in the file, but got only ['x_train', 'y_test', 'y_train']",
    ),
    "objects": (npz(x_train=np.array([Evil()] * N, object)), "x_train: must be a readable array of plain numbers, but"),
    "labels as objects": (
        npz(y_train=np.array([Evil()] * N, object)),
        "y_train: must be a readable array of plain num",
    ),
    "no arrays within": (zipped(), "x_train: must be a numpy array in .npy format, but got o"),
    "a pickle within": (
        zipped(x_train=pickle.dumps(Evil())),
        "x_train: must be a numpy array in .npy format, but got other bytes",
    ),
    "a header that lies": (
        zipped(x_train=claims((10**15, 8, 8))),
        "x_train: must be a readable array of plain numbers",
    ),
    "a header without data": (zipped(x_train=claims((N, 8, 8))), "x_train: must be a readable array of plain numbers"),
    "a truncated file": (npz()[:2000], "must be a .npz archive of numpy arrays (numpy.savez), but got something else"),
    "a damaged file": (npz().replace(b"\0" * 64, b"\1" * 64, 1), "x_train: must be a readable array of plain numbers"),
    "an empty file": (b"", "must be a .npz archive of numpy arrays (numpy.savez), but got something else"),
    "text": (b"x_train,y_train\n", "must be a .npz archive of numpy arrays (numpy.savez), but got something else"),
    "a pickle": (pickle.dumps(Evil()), "must be a .npz archive of numpy arrays (numpy.savez), but got something else"),
    "one array": (claims((1,)) + b"\0", "must be a .npz archive of numpy arrays (numpy.savez), but got something else"),
}
TOO_FEW = {
    "all images": (
        {"search": 30, "calibrate": 30},
        "data.splits: must leave at least 2 images (one per class) for tr",
    ),
    "more than all": (
        {"search": 10**6},
        "data.splits: must leave at least 2 images (one per class) for train, but got 1",
    ),
    "hardly any": ({"search": 1}, "data.splits.search: must be at least 2 images (one per class), but got 1"),
    "a small share": (
        {"calibrate": 0.01},
        "data.splits.calibrate: must be at least 2 images (one per class), but got 1",
    ),
}


@pytest.mark.parametrize("content, expected", NPZ.values(), ids=NPZ)
def test_bad_arrays(search, project, content, expected):
    (project / "set.npz").write_bytes(content)
    line = search(name="npz", path="set.npz")
    assert line.startswith(f"{project / 'set.npz'}: {expected}"), line


def test_arrays_that_are_not_where_they_should_be(search, project):
    line = search(name="npz", path="none.npz")
    assert line == f"{project / 'none.npz'}: must be a .npz file, but got no such file"
    assert search(name="npz", path=".").startswith(f"{project}: must be a .npz file, but got")


@pytest.mark.parametrize("splits, expected", TOO_FEW.values(), ids=TOO_FEW)
def test_splits_that_take_too_much_or_too_little(search, project, splits, expected):
    (project / "set.npz").write_bytes(npz())
    line = search(name="npz", path="set.npz", splits=splits)
    assert line.startswith(f"spec.yaml: {expected}"), line


@pytest.mark.parametrize(
    "changes, expected",
    [
        (
            {"x_train": np.zeros((N, 8, 8, 3), np.uint8)},
            "input: must fit the images of npz, which are 3 x 8 x 8, but",
        ),
        (
            {"x_train": np.zeros((N, 16, 8), np.uint8)},
            "input: must fit the images of npz, which are 1 x 16 x 8, but ",
        ),
        ({"y_train": np.arange(N) % 3}, "classes: must be 3, as in the data, but got 2"),
    ],
)
def test_data_that_do_not_fit_the_space(search, project, changes, expected):
    (project / "set.npz").write_bytes(npz(**changes))
    line = search(name="npz", path="set.npz")
    assert line.startswith(f"space.yaml: {expected}"), line


@pytest.mark.parametrize("channels", [2, 4])
def test_colour_operations_on_what_has_no_colours(search, project, channels):
    (project / "set.npz").write_bytes(npz(x_train=np.zeros((N, 8, 8, channels), np.uint8)))
    space = SPACE | {"classes": 2, "input": {"channels": channels, "resolution": 8}}
    (project / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    line = search(name="npz", path="set.npz", augment="trivial_augment")
    rule = f"must be false for images of {channels} channels, since its operations are for grey and RGB"
    assert line == f"spec.yaml: data.augment.trivial_augment: {rule}, but got true"


@pytest.mark.parametrize("height, width", [(8, 8), (8, 12), (12, 8)])
def test_a_crop_that_could_miss_the_image(search, project, height, width):
    (project / "set.npz").write_bytes(npz(x_train=np.zeros((N, height, width, 1), np.uint8)))
    space = {key: value for key, value in SPACE.items() if key not in ("input", "classes")}
    (project / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    line = search(name="npz", path="set.npz", augment={"crop": 8})
    assert line == "spec.yaml: data.augment.crop: must be less than the shorter side of an image (8), but got 8"


def test_a_run_whose_name_is_not_utf8(refused, project):
    (project / "set.npz").write_bytes(npz())
    spec = EXPERIMENT | {"data": {"name": "npz", "path": "set.npz"}}
    (project / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    line = refused(project, "search", "spec.yaml", "--out", os.fsdecode(b"r\xfcn"))
    assert line.startswith(r"r\udcfcn: the folder of a run must have a name in UTF-8, but got bytes b'")
