import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aebnas.core.errors import UserError
from aebnas.data.data_spec import DataSpec, SplitSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_files.files import Files, Held
from aebnas.data.image_set import ImageSet, InMemory
from aebnas.data.splits import load_splits
from aebnas.runtime.preprocessing import ImageReader

SPEC = DataSpec(name="folder", path=Path("set"), resolution=4)
SPLITS = SplitSpec(search=4, calibrate=4, certify=0)


def write(path: Path, colour: tuple[int, ...] | int, size: tuple[int, int] = (4, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, each with twelve training images and one test image; several formats and sizes."""
    for number in range(12):
        write(tmp_path / f"set/train/dog/{number:02}.png", (number, 0, 0))
        write(tmp_path / f"set/train/cat/deep/{number:02}.bmp", (0, number, 0), (8, 8))
    write(tmp_path / "set/test/dog/a.PNG", 200, mode="L")
    write(tmp_path / "set/test/cat/b.jpg", (128, 128, 128), (50, 30))
    (tmp_path / "set/train/dog/notes.txt").write_text("no image")
    return tmp_path


def test_images_and_labels_of_a_folder(folder: Path) -> None:
    train, test = load_train(SPEC, folder), load_test(SPEC, folder)
    assert train.shape == test.shape == (3, 4, 4) and train.classes == test.classes == 2
    assert train.labels.tolist() == [0] * 12 + [1] * 12  # cat before dog
    found = train.pixels([3, 14])
    assert found.dtype == torch.uint8
    assert found[0, :, 1, 2].tolist() == [0, 3, 0] and found[1, :, 1, 2].tolist() == [2, 0, 0]
    assert test.labels.tolist() == [0, 1]
    assert test.pixels()[:, :, 0, 0].tolist() == [[128] * 3, [200] * 3]
    grey = load_test(SPEC.model_copy(update={"channels": 1}), folder)
    assert grey.pixels().shape == (2, 1, 4, 4) and grey.pixels()[:, 0, 3, 3].tolist() == [128, 200]


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_centre_square_is_resized_with_antialiasing(tmp_path: Path, kind: str) -> None:
    stripes = np.zeros((64, 128, 3), dtype=np.uint8)
    stripes[:, 32:96:2] = 200  # every other column of the centre square
    stripes[:, :32] = 255
    Image.fromarray(stripes).save(tmp_path / f"a.{kind}", **({"quality": 100} if kind == "jpg" else {}))
    [image] = Files((str(tmp_path / f"a.{kind}"),), ImageReader((3, 8, 8))).read(torch.tensor([0]))
    assert (image[:, :, 1:-1].int() - 100).abs().max() <= 3
    assert image[:, :, 0].max() < 130  # the white left quarter contributes only at the filter's edge


def test_a_spec_chooses_how_images_are_brought_to_size(tmp_path: Path) -> None:
    """A clear image with a black column at its left, of 8 x 4 pixels."""
    image = Image.new("RGBA", (8, 4), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 2, 4))
    for part, name in [(part, name) for part in ("train", "test") for name in ("a", "b")]:
        (tmp_path / "set" / part / name).mkdir(parents=True)
        image.save(tmp_path / "set" / part / name / "0.png")

    def red(**changes: object) -> list[list[int]]:
        train = load_train(SPEC.model_copy(update={"resize": "box", "ground": (200, 0, 0), **changes}), tmp_path)
        rows: list[list[int]] = train.pixels([0])[0, 0].tolist()
        return rows

    assert red(ground=(255, 255, 255)) == [[255] * 4] * 4  # the centre
    assert red() == [[200] * 4] * 4
    assert red(fit="stretch") == [[0, 200, 200, 200]] * 4
    assert red(fit="pad") == [[200] * 4, [0, 200, 200, 200], [0, 200, 200, 200], [200] * 4]


@pytest.mark.parametrize(
    ("memory", "limit", "held"),
    [
        ("always", 0, {"train", "arch", "search", "calibrate", "certify"}),
        ("never", 10**9, set()),
        ("auto", 10**9, {"train", "arch", "search", "calibrate", "certify"}),
        ("auto", 24 * 48, {"train", "arch", "search", "calibrate", "certify"}),  # exactly all images
        ("auto", 24 * 48 - 1, {"arch", "search", "calibrate", "certify"}),  # all but train; two are empty
        ("auto", 7 * 48, {"arch", "search", "certify"}),
    ],
)
def test_what_fits_is_held_in_memory(folder: Path, memory: str, limit: int, held: set[str]) -> None:
    change = {"memory": memory, "memory_limit_bytes": limit, "splits": SPLITS}
    splits = load_splits(SPEC.model_copy(update=change), folder)
    parts = {name: part for name, part in vars(splits).items() if isinstance(part, ImageSet)}
    assert {name for name, part in parts.items() if isinstance(part.source, Held)} == held
    never = load_splits(SPEC.model_copy(update={"memory": "never", "splits": SPLITS}), folder)
    for name, part in parts.items():
        assert torch.equal(part.pixels(), getattr(never, name).pixels())
        assert torch.equal(part.labels, getattr(never, name).labels)


@contextmanager
def files_missing(folder: Path) -> Iterator[None]:
    """Inside, the image files are missing: only images read before are available."""
    (folder / "set").rename(folder / "away")
    yield
    (folder / "away").rename(folder / "set")


def test_splits_are_cut_and_parts_taken_without_reading(folder: Path) -> None:
    splits = load_splits(SPEC.model_copy(update={"splits": SPLITS}), folder)
    few = splits.train.subset(torch.tensor([1, 0]))
    with files_missing(folder), pytest.raises(UserError):
        few.pixels()
    first = few.pixels()
    with files_missing(folder), pytest.raises(UserError):  # only the images requested were read
        splits.train.pixels([1])
    assert torch.equal(splits.train.pixels([1, 0]), first)
    with files_missing(folder):  # now all of train is in memory
        assert len(splits.train.pixels()) == 16


@pytest.mark.parametrize("loaders", [0, 2])
def test_held_images_are_pickled_as_pixels(folder: Path, loaders: int) -> None:
    source = load_train(SPEC, folder).source
    held = ImageSet(Held(source, loaders), torch.arange(24) % 2, 2)
    expected = source.read(torch.arange(24))
    sent = pickle.loads(pickle.dumps(held))
    assert isinstance(sent.source, InMemory) and torch.equal(sent.pixels(), expected)
    with files_missing(folder):
        assert torch.equal(held.pixels(), expected)


def test_damaged_and_deep_images_are_named(folder: Path) -> None:
    bad = folder / "set/train/dog/05.png"
    train = load_train(SPEC, folder)
    for content in (bad.read_bytes()[:50], b"", b"no image", bad.read_bytes()[:-30]):
        bad.write_bytes(content)
        for read in (train, ImageSet(Held(train.source, 2), train.labels, 2)):
            with pytest.raises(UserError) as raised:
                read.pixels()
            assert str(raised.value).startswith(f"{bad}: must be a readable image, but got ")
            assert "\n" not in str(raised.value)
    Image.new("F", (4, 4)).save(bad, "TIFF")
    with pytest.raises(UserError, match=r"05.png: must hold whole numbers, but got floating-point ones \(mode F\)"):
        train.pixels()


def test_faults_of_a_folder(folder: Path) -> None:
    def fault(path: Path = folder) -> str:
        for load in (load_train, load_test):
            with pytest.raises(UserError) as raised:
                load(SPEC, path)
        return str(raised.value)

    whole = "must be a folder that holds train and test, or one subfolder of images per class, but got no such folder"
    assert fault(folder / "elsewhere") == f"{folder / 'elsewhere/set'}: {whole}"
    (folder / "set/test/horse").mkdir()
    train = folder / "set/train"
    assert fault() == f"{folder / 'set/test/horse'}: must be a class of {train}, but isn't"
    (folder / "set/test/horse").rmdir()
    (train / "horse").mkdir()
    with pytest.raises(UserError, match=r"train/horse: must hold images \(\.jpg, \.png, \.\.\.\), but got none"):
        load_train(SPEC, folder)
    load_test(SPEC, folder)  # a class of train need not be tested
    (folder / "set/test/horse").mkdir()
    with pytest.raises(UserError, match=r"test/horse: must hold images .*, but got none"):
        load_test(SPEC, folder)


def test_a_folder_needs_classes(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / "set" / part).mkdir(parents=True)
    with pytest.raises(UserError, match=r"set/train: must hold one subfolder of images per class, but got none"):
        load_train(SPEC, tmp_path)
    for part in ("train", "test"):
        write(tmp_path / f"set/{part}/cat/a.png", (0, 0, 0))
    with pytest.raises(UserError, match=r"set/train: must hold at least 2 classes, but got only 'cat'"):
        load_train(SPEC, tmp_path)
