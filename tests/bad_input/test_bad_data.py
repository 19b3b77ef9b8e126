"""Data that can't be searched on, given to `aebnas search`: reported in one line before a run is created."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_run import EXPERIMENT, SPACE

N = 60


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """Sound arrays of two classes with some replaced; None takes one away."""
    x, y = np.zeros((N, 8, 8), np.uint8), np.arange(N) % 2
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
    "labels as floats": (npz(y_train=Y * 1.0), "y_train: must be integers, but got float64"),
    "NaN in labels": (npz(y_train=np.full(N, np.nan)), "y_train: must be integers, but got float64"),
    "labels as text": (npz(y_train=Y.astype(str)), "y_train: must be integers, but got <U21"),
    "one-hot labels": (npz(y_train=np.eye(2, dtype=int)[Y]), "y_train: must have shape (N,), but got (60, 2)"),
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
    "labels from 1": (npz(y_train=Y + 1), "y_train: must have every class in 0..2, but got none of class 0"),
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


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with a space of two classes, which is also where commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE | {"classes": 2}), encoding="utf-8")
    return tmp_path


def search(refused, project: Path, **data: Any) -> str:
    """The error message of a search on these data."""
    (project / "spec.yaml").write_text(yaml.safe_dump(EXPERIMENT | {"data": data}), encoding="utf-8")
    return refused(project, "search", "spec.yaml", "--out", "run")


@pytest.mark.parametrize("content, expected", NPZ.values(), ids=NPZ)
def test_bad_arrays(refused, project, content, expected):
    (project / "set.npz").write_bytes(content)
    line = search(refused, project, name="npz", path="set.npz")
    assert line.startswith(f"{project / 'set.npz'}: {expected}"), line


def test_arrays_that_are_not_where_they_should_be(refused, project):
    line = search(refused, project, name="npz", path="none.npz")
    assert line == f"{project / 'none.npz'}: must be a .npz file, but got no such file"
    assert search(refused, project, name="npz", path=".").startswith(f"{project}: must be a .npz file, but got")


@pytest.mark.parametrize("splits, expected", TOO_FEW.values(), ids=TOO_FEW)
def test_splits_that_take_too_much_or_too_little(refused, project, splits, expected):
    (project / "set.npz").write_bytes(npz())
    line = search(refused, project, name="npz", path="set.npz", splits=splits)
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
def test_data_that_do_not_fit_the_space(refused, project, changes, expected):
    (project / "set.npz").write_bytes(npz(**changes))
    line = search(refused, project, name="npz", path="set.npz")
    assert line.startswith(f"space.yaml: {expected}"), line


@pytest.mark.parametrize("channels", [2, 4])
def test_images_of_which_no_network_can_be_exported(refused, project, channels):
    """Not after hours of searching."""
    (project / "set.npz").write_bytes(npz(x_train=np.zeros((N, 8, 8, channels), np.uint8)))
    space = SPACE | {"classes": 2, "input": {"channels": channels, "resolution": 8}}
    (project / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    line = search(refused, project, name="npz", path="set.npz")
    rule = "must be 1 or 3, since networks of other images can't be exported"
    assert line == f"space.yaml: input.channels: {rule}, but got {channels}"


def test_a_crop_that_could_miss_the_image(refused, project):
    (project / "set.npz").write_bytes(npz())
    line = search(refused, project, name="npz", path="set.npz", augment={"crop": 8})
    assert line == "spec.yaml: data.augment.crop: must be less than the side of an image (8), but got 8"


def image(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    """Write an image; returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 50).convert(mode).save(path)
    return path.read_bytes()


@pytest.fixture
def folder_of_images(project) -> Path:
    """A sound folder of images of two classes; the file that damage is done to is `train/cat/07.png`."""
    for name in ("cat", "dog"):
        for number in range(N // 2):
            image(project / f"set/train/{name}/{number:02}.png")
        image(project / f"set/test/{name}/0.png")
    space = SPACE | {"classes": 2, "input": {"channels": 3, "resolution": 8}}
    (project / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    return project / "set"


FOLDER = {"name": "folder", "path": "set", "resolution": 8, "splits": {"search": 20, "calibrate": 20}}
DAMAGE: dict[str, tuple[bytes | str, str]] = {
    "an empty file": (b"", "must be a readable image, but got UnidentifiedImageError"),
    "text": (b"no image", "must be a readable image, but got UnidentifiedImageError"),
    "a pickle": (pickle.dumps(Evil()), "must be a readable image, but got UnidentifiedImageError"),
    "half a file": ("half", "must be a readable image, but got "),
    "floating-point numbers": ("F", "must hold whole numbers, but got floating-point ones (mode F)"),
    "32 bits": ("I", "must hold numbers in 0..65535, but got -1..-1 (mode I)"),
}


@pytest.mark.parametrize("split", ["train", "search"])
@pytest.mark.parametrize("damage, expected", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_image_is_reported_before_there_is_a_run(refused, folder_of_images, damage, expected, split):
    """In whichever split it is."""
    file = folder_of_images / "train/cat/07.png"
    if isinstance(damage, bytes):
        file.write_bytes(damage)
    elif damage == "half":
        content = image(file, (64, 64))
        file.write_bytes(content[: len(content) // 2])
    else:
        Image.new(damage, (8, 8), -1).save(file, "TIFF")
    sizes = {
        "train": {"search": 4, "calibrate": 4, "certify": 0},
        "search": {"search": 52, "calibrate": 4, "certify": 0},
    }
    line = search(refused, folder_of_images.parent, **FOLDER | {"splits": sizes[split]})
    assert line.startswith(f"{file}: {expected}"), line


@pytest.mark.parametrize(
    "spoil, expected",
    [
        (
            lambda folder: (folder / "train").rename(folder / "trian"),
            "/train: must be a folder with one subfolder of images",
        ),
        (
            lambda folder: (folder / "test").rename(folder / "tset"),
            "/test: must be a folder with one subfolder of image",
        ),
        (lambda folder: (folder / "test/dog").rename(folder / "test/cow"), "/test/cow: must be a class of "),
        (
            lambda folder: [file.unlink() for file in (folder / "train/dog").iterdir()],
            "/train/dog: must hold images ",
        ),
        (lambda folder: [file.unlink() for file in (folder / "test/dog").iterdir()], "/test/dog: must hold images ("),
    ],
    ids=["no train", "no test", "an unknown class", "an empty class", "an empty class to test"],
)
def test_a_folder_laid_out_wrongly(refused, folder_of_images, spoil, expected):
    spoil(folder_of_images)
    line = search(refused, folder_of_images.parent, **FOLDER)
    assert line.startswith(f"{folder_of_images}{expected}"), line


def test_a_folder_with_another_number_of_classes(refused, folder_of_images):
    image(folder_of_images / "train/cow/1.png")
    line = search(refused, folder_of_images.parent, **FOLDER)
    assert line == "space.yaml: classes: must be 3, as in the data, but got 2"


def test_a_class_whose_name_is_not_utf8(refused, folder_of_images):
    """Searched and evaluated, it could not be exported."""
    for part in ("train", "test"):
        (folder_of_images / part / "dog").rename(folder_of_images / part / os.fsdecode(b"d\xf6g"))
    line = search(refused, folder_of_images.parent, **FOLDER)
    assert line == f"{folder_of_images / 'train'}: a class must have a name in UTF-8, but got bytes b'd\\xf6g'"


def test_a_run_whose_name_is_not_utf8(refused, project):
    (project / "set.npz").write_bytes(npz())
    spec = EXPERIMENT | {"data": {"name": "npz", "path": "set.npz"}}
    (project / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    line = refused(project, "search", "spec.yaml", "--out", os.fsdecode(b"r\xfcn"))
    assert line.startswith(r"r\udcfcn: the folder of a run must have a name in UTF-8, but got bytes b'")


def test_a_file_where_a_folder_should_be(refused, project):
    (project / "set").write_bytes(b"")
    line = search(refused, project, **FOLDER)
    assert line.startswith(f"{project / 'set' / 'train'}: must be a folder with one subfolder of images per class")
