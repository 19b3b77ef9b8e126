"""CSV files of paths and labels that can't be used, given to `aebnas search`: one line that names file and line."""

import os
from typing import Any

import pytest

CSV: dict[str, Any] = {"name": "csv", "path": "labels.csv", "resolution": 8}
SPLITS = {"search": 4, "calibrate": 4, "certify": 0}
SHARE = {"splits": SPLITS | {"test": 0.2}}
FILES = [f"set/train/{name}/{number:02}.png" for name in ("cat", "dog") for number in range(30)]
ROWS = [f"{path},{path.split('/')[2]}" for path in FILES]
PARTS = [f"{row},{'test' if number % 5 == 0 else 'train'}" for number, row in enumerate(ROWS)]


def table(*rows: str, head: str = "path,label") -> str:
    return "\n".join([head, *rows]) + "\n"


def with_row(number: int, row: str, rows: list[str] = ROWS) -> str:
    """A sound file with another row in place of one; the row's line is `number + 2`."""
    changed = [*rows]
    changed[number] = row
    return table(*changed, head="path,label,split" if rows is PARTS else "path,label")


def parts(*values: str) -> str:
    """A sound file whose column `split` has these values in turn."""
    rows = [f"{row},{values[number % len(values)]}" for number, row in enumerate(ROWS)]
    return table(*rows, head="path,label,split")


COLUMN = "must name a column "
WRONG: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ": must have a row for each image, but got none"),
    "blank": ("\n\n \n", ": must have a row for each image, but got none"),
    "no rows": (table(), ": must have a row for each image, but got none"),
    "no header": (table(*ROWS[1:], head=ROWS[0]), f", line 1: {COLUMN}'path', but got 'set/train/cat/00.png, cat'"),
    "another name for path": (table(*ROWS, head="file,label"), f", line 1: {COLUMN}'path', but got 'file, label'"),
    "another name for label": (table(*ROWS, head="path,class"), f", line 1: {COLUMN}'label', but got 'path, class'"),
    "a misspelt column": (
        table(*ROWS, head="path,lable"),
        f", line 1: {COLUMN}'label', but got 'path, lable', is it 'l",
    ),
    "a column twice": (
        table(*(f"{row},cat" for row in ROWS), head="path,label,Label"),
        ", line 1: must name each column once, but got 'label' 2 times",
    ),
    "split by bars": (
        table(*(row.replace(",", "|") for row in ROWS), head="path|label"),
        f", line 1: {COLUMN}'path', but",
    ),
    "too few cells": (with_row(3, FILES[3]), ", line 5: must have 2 cells as the first line, but got 1"),
    "too many cells": (with_row(3, "a,b.png,cat"), ", line 5: must have 2 cells as the first line, but got 3"),
    "no path": (with_row(0, ",cat"), ", line 2: path: must not be empty"),
    "no label": (with_row(1, f"{FILES[1]},"), ", line 3: label: must not be empty"),
    "a label of spaces": (with_row(1, f"{FILES[1]},  "), ", line 3: label: must not be empty"),
    "no split": (with_row(4, f"{ROWS[4]},", PARTS), ", line 6: split: must not be empty"),
    "an unknown split": (parts("train", "holdout"), ", line 3: split: must be train, test or val, but got 'holdout'"),
    "a missing file": (with_row(5, "gone.png,cat"), ", line 7: path: must be an image file, but got no such file: "),
    "a missing test file": (
        with_row(5, "gone.png,cat,test", PARTS),
        ", line 7: path: must be an image file, but got no",
    ),
    "a file after blank lines": (
        "\n\n" + with_row(5, "gone.png,cat"),
        ", line 9: path: must be an image file, but got no such file: ",
    ),
    "a folder": (with_row(5, "set/train,cat"), ", line 7: path: must be an image file, but got something else: "),
    "a pipe": (with_row(5, "pipe.png,cat"), ", line 7: path: must be an image file, but got something else: "),
    "a link to nowhere": (
        with_row(5, "nowhere.png,cat"),
        ", line 7: path: must be an image file, but got no such file:",
    ),
    "a long name": (
        with_row(5, f"{'a' * 400}.png,cat"),
        ", line 7: path: must be an image file, but got no such file: ",
    ),
    "a null character": (with_row(5, "a\0.png,cat"), ", line 7: "),
    "backslashes": (
        with_row(5, "set\\train\\cat\\05.png,cat"),
        ", line 7: path: must be an image file, but got no such file: ",
    ),
    "an address": (
        with_row(5, "https://a.example/b.png,cat"),
        ", line 7: path: must be an image file, but got no such ",
    ),
    "a path twice": (
        with_row(5, ROWS[2]),
        ", line 7: path: must be an image that no other row names, but line 4 names it",
    ),
    "a path in two ways": (
        with_row(5, f"./set/../{FILES[2]},cat"),
        ", line 7: path: must be an image that no other row n",
    ),
    "a link to another row": (
        with_row(5, "again.png,cat"),
        ", line 7: path: must be an image that no other row names, b",
    ),
    "a path under two labels": (
        with_row(35, f"{FILES[2]},dog"),
        ", line 37: path: must be an image that no other row nam",
    ),
    "a path in two parts": (
        with_row(5, f"{ROWS[1]},test", PARTS),
        ", line 7: path: must be an image that no other row na",
    ),
    "one class": (table(*ROWS[:30]), ": label: must have at least 2 classes, but got only 'cat'"),
    "one class to train": (
        table(*(f"{row},{'test' if 'dog' in row else 'train'}" for row in ROWS), head="path,label,split"),
        ": label: must have at least 2 classes, but got only 'cat'",
    ),
    "an unknown class": (
        with_row(5, f"{FILES[5]},cow,test", PARTS),
        ", line 7: label: must be a class of the training row",
    ),
    "a number in two ways": (
        table(*(f"{path},{number % 2}" for number, path in enumerate(FILES[:-1])), f"{FILES[-1]},01"),
        ", line 61: label: must be written in one way, but got '01' and '1'",
    ),
    "test alone": (parts("test"), ": split: must be 'train' in some rows, but got only test"),
    "val alone": (parts("val"), ": split: must be 'train' in some rows, but got only val"),
    "an open quote": (with_row(5, f'"{FILES[5]},cat'), ", line 7: must be valid CSV, but got: unexpected end of data"),
    "a quote too many": (
        with_row(5, f'"{FILES[5]}"x,cat'),
        ", line 7: must be valid CSV, but got: ',' expected after '",
    ),
    "a huge cell": (
        with_row(5, f"{'a' * 200_000},cat"),
        ", line 7: must be valid CSV, but got: field larger than field ",
    ),
    "another encoding": (table(*ROWS, "\xe4,b").encode("latin-1"), ": must be text in UTF-8, but got: "),
    "UTF-16": (table(*ROWS).encode("utf-16"), ": must be text in UTF-8, but got: invalid start byte"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(100), ": must be text in UTF-8, but got: invalid start byte"),
}


@pytest.fixture
def images(folder_of_images):
    """The images that the rows name, a pipe and links beside them."""
    folder = folder_of_images.parent
    os.mkfifo(folder / "pipe.png")
    (folder / "nowhere.png").symlink_to("gone.png")
    (folder / "again.png").symlink_to(FILES[3])
    return folder


@pytest.mark.parametrize("content, expected", WRONG.values(), ids=WRONG)
def test_a_file_that_cannot_be_used(search, images, content, expected):
    file = images / "labels.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    has_parts = "split" in str(content).splitlines()[0] if content else False
    line = search(**CSV | {"splits": SPLITS} if has_parts else CSV | SHARE)
    assert line.startswith(f"{file}{expected}"), line


SHARES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no share": (
        table(*ROWS),
        {},
        "must be above 0 (the share or number of images that become the test set), since no row ",
    ),
    "no share, train alone": (
        parts("train"),
        {},
        "must be above 0 (the share or number of images that become the test ",
    ),
    "a share beside test": (
        table(*PARTS, head="path,label,split"),
        {"test": 0.1},
        "must be absent, since the data have a ",
    ),
    "a share beside val": (
        parts("train", "val"),
        {"test": 0.1},
        "must be absent, since the data have a test part of thei",
    ),
    "too small a share": (table(*ROWS), {"test": 1}, "must be at least 2 images (one per class), but got 1"),
}


@pytest.mark.parametrize("content, splits, expected", SHARES.values(), ids=SHARES)
def test_shares(search, images, content, splits, expected):
    (images / "labels.csv").write_text(content, encoding="utf-8")
    line = search(**CSV, splits=SPLITS | splits)
    assert line.startswith(f"spec.yaml: data.splits.test: {expected}"), line


def test_what_the_space_does_not_fit(search, images):
    (images / "labels.csv").write_text(with_row(5, f"{FILES[5]},cow"), encoding="utf-8")
    assert search(**CSV | SHARE) == "space.yaml: classes: must be 3, as in the data, but got 2"


def test_a_file_that_is_not_there(search, images):
    rule = "must be a CSV file of paths and labels"
    assert search(**CSV | SHARE) == f"{images / 'labels.csv'}: {rule}, but got no such file"
    (images / "labels.csv").mkdir()
    assert search(**CSV | SHARE) == f"{images / 'labels.csv'}: {rule}, but got a folder"


def test_a_damaged_image(search, images):
    (images / FILES[3]).write_bytes(b"")
    (images / "labels.csv").write_text(table(*PARTS, head="path,label,split"), encoding="utf-8")
    line = search(**CSV, splits={"search": 40, "calibrate": 4, "certify": 0})
    assert line.startswith(f"{images / FILES[3]}: must be a readable image, but got an empty file (data.unreadable: ")


def test_names_in_another_order(search, images):
    (images / "labels.csv").write_text(table(*ROWS), encoding="utf-8")
    line = search(**CSV | SHARE, class_names=["dog", "cat"])
    rule = "must be in the order of the data's classes ('cat, dog')"
    assert line == f"spec.yaml: data.class_names: {rule}, but got 'dog' for 'cat'"
