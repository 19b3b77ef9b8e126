"""Files that aren't the images that their names promise, given to `aebnas search`: named before a run is created."""

import pickle

import numpy as np
import pytest
from image_files import encoded, png_that_claims
from PIL import Image

from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_train

FOLDER = {"name": "folder", "path": "set", "resolution": 8}
SPLITS = {
    "train": {"search": 4, "calibrate": 4, "certify": 0},
    "search": {"search": 52, "calibrate": 4, "certify": 0},
}
"""By the split that the damaged image is in."""
HINT = " (data.unreadable: leave_out leaves out what can't be read)"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1234\n"
DAMAGED: dict[str, bytes] = {
    "an empty file": b"",
    "text": b"no image",
    "a pickle": pickle.dumps({"an": "object"}),
    "numpy's format": np.zeros(9).tobytes(),
    "a pointer to large file storage": LFS,
    "a page of HTML": b"<!DOCTYPE html><html><body>404</body></html>",
    "a drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "zeros": bytes(4096),
    "an archive": b"PK\x03\x04" + bytes(100),
    "a signature alone": b"\x89PNG\r\n\x1a\n",
    "a PNG of no width": png_that_claims(0, 8),
    "a PNG without its data": png_that_claims(64, 64),
    "a decompression bomb": png_that_claims(10_000, 10_000),
    "a larger bomb": png_that_claims(60_000, 60_000),
    "half a PNG": encoded("PNG")[:2000],
    "a PNG with another byte": encoded("PNG").replace(b"IDAT", b"IDAQ", 1),
    "half a JPEG": encoded("JPEG")[:1000],
    "the beginning of a JPEG": encoded("JPEG")[:30],
    "half a GIF": encoded("GIF", mode="P")[:1000],
    "half a BMP": encoded("BMP")[:1000],
    "half a WebP": encoded("WEBP")[:200],
    "half a TIFF": encoded("TIFF")[:1000],
    "half a PPM": encoded("PPM")[:1000],
    "half a TGA": encoded("TGA")[:500],
    "half a JPEG 2000": encoded("JPEG2000")[:100],
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_image_is_named_or_left_out(search, folder_of_images, tmp_path, monkeypatch, recwarn, content):
    file = folder_of_images / "train/cat/07.png"
    file.write_bytes(content)
    line = search(**FOLDER, splits=SPLITS["search"])
    assert line.startswith(f"{file}: must ") and line.endswith(HINT), line
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = DataSpec.model_validate(FOLDER | {"unreadable": "leave_out"})
    left = load_train(spec, folder_of_images.parent)
    assert len(left) == len(left.pixels()) == 59
    assert left.left_out == {"training file(s) that can't be read as images (the first is train/cat/07.png)": 1}
    assert not [warning for warning in recwarn if "bomb" in str(warning.message)]


@pytest.mark.parametrize("split", SPLITS)
def test_a_damaged_image_is_reported_before_there_is_a_run(search, folder_of_images, split):
    """In whichever split it is."""
    file = folder_of_images / "train/cat/07.png"
    file.write_bytes(b"")
    line = search(**FOLDER, splits=SPLITS[split])
    assert line == f"{file}: must be a readable image, but got an empty file{HINT}"


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("F", "must hold whole numbers, but got floating-point ones (mode F)"),
        ("I", "must hold numbers in 0..65535, but got -1..-1 (mode I)"),
    ],
)
def test_numbers_that_no_image_has(search, folder_of_images, mode, expected):
    file = folder_of_images / "train/cat/07.png"
    Image.new(mode, (8, 8), -1).save(file, "TIFF")
    assert search(**FOLDER, splits=SPLITS["search"]) == f"{file}: {expected}{HINT}"


def test_a_class_of_which_no_image_can_be_read(search, folder_of_images, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here/cache"))
    for file in (folder_of_images / "train/dog").iterdir():
        file.write_bytes(b"")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/cache").touch()  # a file: what was found can't be kept, which is no reason to stop
    line = search(**FOLDER, unreadable="leave_out")
    rule = "must have an image of 'dog' that can be read, but got none of 30"
    assert line == f"{folder_of_images}: {rule} (data.unreadable: refuse says what is wrong with them)"
