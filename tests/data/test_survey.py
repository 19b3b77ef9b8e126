"""What is seen of a set of images, and what is said to be odd about it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aebnas.core.errors import UserError
from aebnas.data.survey import survey


def write(file: Path, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> None:
    """An image of `size` (width, height)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 12 training and 2 test images, with nothing odd about them."""
    for part, count in (("train", 12), ("test", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                write(tmp_path / "set" / part / name / f"{number}.png", (20, 16))
    return tmp_path / "set"


def test_an_ordinary_folder(folder):
    seen = survey(folder)
    assert (seen.class_names, seen.train_k, seen.test_k) == (("cat", "dog"), (12, 12), (2, 2))
    assert (set(seen.sizes), seen.median_side, seen.channels) == ({(16, 20)}, 16, 3)
    assert seen.data == {"name": "folder"} and seen.findings == ()


def finding(seen, start: str) -> str:
    """The finding that begins with a text; there must be one."""
    [found] = [line for line in seen.findings if line.startswith(start)]
    return found


def test_grey_images_have_one_channel_unless_some_are_in_colour(folder):
    for file in folder.rglob("*.png"):
        write(file, mode="L")
    assert survey(folder).channels == 1
    write(folder / "train" / "cat" / "more.png", mode="RGBA")
    seen = survey(folder)
    assert seen.channels == 3
    assert finding(seen, "28 images are grey") == "28 images are grey and 1 in colour; all are read as RGB"
    assert finding(seen, "1 images have an alpha")


def test_files_that_cannot_be_read_are_named_and_left_out(folder):
    (folder / "train" / "dog" / "empty.jpg").touch()
    (folder / "train" / "dog" / "notes.txt").touch()
    seen = survey(folder)
    assert seen.data["unreadable"] == "leave_out"
    assert "empty.jpg" in finding(seen, "1 of 29 images can't be read and are left out; the first: ")
    assert "notes.txt" not in str(seen.findings) and finding(seen, "not all files are read as images (left out: 1 ")


def test_no_readable_image_at_all(folder):
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"must hold images that can be read, but got: .*empty"):
        survey(folder)


def test_sizes_and_shapes_that_differ(folder):
    write(folder / "train" / "cat" / "large.png", (200, 100))
    seen = survey(folder)
    assert finding(seen, "shorter sides are 16 to 100 pixels")
    assert finding(seen, "1 of 29 images are 1.5 times")


def test_classes_that_are_small_unbalanced_or_not_tested(folder):
    write(folder / "train" / "emu" / "0.png")
    seen = survey(folder)
    assert finding(seen, "classes with fewer") == "classes with fewer than 5 training images: emu (1)"
    assert finding(seen, "classes are unbalanced") == (
        "classes are unbalanced: 1 to 12 training images "
        "(classes: {weights: balanced} in the spec makes rare ones count as much)"
    )
    assert finding(seen, "classes without test images") == "classes without test images: emu"


def test_a_share_becomes_the_test_set_where_there_is_none(folder):
    seen = survey(folder / "train")
    assert seen.data == {"name": "folder", "splits": {"test": 0.2}}
    assert (sum(seen.train_k), sum(seen.test_k)) == (19, 5)


def test_a_csv_file(folder):
    rows = [f"{file},{file.parent.name},{file.parent.parent.name}" for file in sorted(folder.rglob("*.png"))]
    (folder / "list.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    seen = survey(folder / "list.csv")
    assert seen.data == {"name": "csv"} and (seen.train_k, seen.test_k) == ((12, 12), (2, 2))


@pytest.mark.parametrize(
    "labels", [np.arange(30) % 3, np.array(["a", "b", "c"])[np.arange(30) % 3], np.eye(3)[np.arange(30) % 3]]
)
def test_arrays(tmp_path, labels):
    x = np.zeros((30, 9, 12, 3), np.uint8)
    np.savez(tmp_path / "set.npz", x_train=x, y_train=labels, x_test=x[:6], y_test=labels[:6])
    seen = survey(tmp_path / "set.npz")
    assert seen.class_names == (("a", "b", "c") if labels.dtype.kind == "U" else ("0", "1", "2"))
    assert (seen.train_k, seen.test_k, seen.sizes, seen.channels) == ((10,) * 3, (2,) * 3, ((9, 12),), 3)
    assert seen.data == {"name": "npz"} and not seen.in_files
