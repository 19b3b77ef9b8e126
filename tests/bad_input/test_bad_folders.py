"""Image folders that are laid out wrongly, given to `aebnas search`: refused in one line before a run is created."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_files import write_image

FOLDER: dict[str, Any] = {"name": "folder", "path": "set", "resolution": 8}
SPLITS = {"search": 4, "calibrate": 4, "certify": 0}
SHARE = {"splits": SPLITS | {"test": 0.2}}


def move(*pairs: tuple[str, str]) -> Callable[[Path], None]:
    """The change of a folder that moves what lies in it."""

    def change(folder: Path) -> None:
        for source, target in pairs:
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / source).rename(folder / target)

    return change


def add(*names: str) -> Callable[[Path], None]:
    """The change of a folder that adds images, or folders where a name ends with a slash."""

    def change(folder: Path) -> None:
        for name in names:
            if name.endswith("/"):
                (folder / name).mkdir(parents=True)
            else:
                write_image(folder / name)

    return change


def flat(*names: str) -> Callable[[Path], None]:
    """The change to one folder of classes, with additions."""

    def change(folder: Path) -> None:
        move(("train/cat", "cat"), ("train/dog", "dog"))(folder)
        shutil.rmtree(folder / "test")
        (folder / "train").rmdir()
        add(*names)(folder)

    return change


def emptied(*places: str) -> Callable[[Path], None]:
    """The change that removes what lies in some folders."""

    def change(folder: Path) -> None:
        for place in places:
            for entry in list((folder / place).iterdir()):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    return change


def linked(place: str, target: str, away: str = "") -> Callable[[Path], None]:
    """The change that puts a symbolic link in some place, from which what is there is moved `away`."""

    def change(folder: Path) -> None:
        if away:
            (folder / place).rename(folder / away)
        (folder / place).symlink_to(target)

    return change


def annotated(text: str | bytes, *names: str) -> Callable[[Path], None]:
    """The change to a test part like Tiny-ImageNet's, with annotations and images."""

    def change(folder: Path) -> None:
        shutil.rmtree(folder / "test")
        (folder / "val/images").mkdir(parents=True)
        add(*(f"val/images/{name}" for name in names))(folder)
        (folder / "val/val_annotations.txt").write_bytes(text if isinstance(text, bytes) else text.encode())

    return change


NEEDED = "spec.yaml: data.splits.test: must be above 0 (the share or number of images that become the test set), since "
LAYOUTS: dict[str, tuple[Callable[[Path], None], dict[str, Any], str]] = {
    "no train": (
        move(("train", "trian")),
        {},
        "/train: must be a folder with one subfolder of images per class beside test, but got no such folder",
    ),
    "val alone": (
        lambda folder: (shutil.rmtree(folder / "train"), (folder / "test").rename(folder / "val")),
        SHARE,
        "/train: must be a folder with one subfolder of images per class beside val, but got no such folder",
    ),
    "no test, and no share": (
        move(("test", "tset")),
        {},
        f"{NEEDED}there is no folder test (or val) beside train, but",
    ),
    "a share beside test": (
        add(),
        SHARE,
        "spec.yaml: data.splits.test: must be absent, since the data have a test part of their own (test), but got 0.2",
    ),
    "a share beside val": (
        move(("test", "val")),
        SHARE,
        "spec.yaml: data.splits.test: must be absent, since the data have a test part of their own (val), but got 0.2",
    ),
    "val and valid": (
        lambda folder: (move(("test", "val"))(folder), add("valid/cat/0.png")(folder)),
        {},
        "/val: must be the only one, since it would be the test set, but got valid, too",
    ),
    "Train and train": (add("Train/cat/0.png"), {}, "/Train: must be the only folder called train, but got train, too"),
    "Test and test": (add("Test/cat/0.png"), {}, "/Test: must be the only folder called test, but got test, too"),
    "training and testing": (
        move(("train", "training"), ("test", "testing")),
        SHARE,
        "/testing: must be a class, but holds folders: parts are called train and test (or val)",
    ),
    "a train set": (
        lambda folder: (move(("train", "Train_Set"))(folder), shutil.rmtree(folder / "test")),
        SHARE,
        "/Train_Set: must be a class, but holds folders: parts are called train and test (or val)",
    ),
    "classes, and no share": (flat(), {}, f"{NEEDED}there is no folder train, but got 0"),
    "classes and a test folder": (
        flat("test/0.png"),
        SHARE,
        "/train: must be a folder with one subfolder of images per",
    ),
    "too small a share": (
        flat(),
        {"splits": SPLITS | {"test": 1}},
        "spec.yaml: data.splits.test: must be at least 2 images (one per class), but got 1",
    ),
    "too large a share": (
        flat(),
        {"splits": SPLITS | {"test": 60}},
        "spec.yaml: data.splits: must leave at least 2 images (one per class) for train, but got 60 for test out of 60",
    ),
    "nothing left to search on": (
        flat(),
        {"splits": SPLITS | {"test": 54}},
        "spec.yaml: data.splits: must leave at least 2 images (one per class) for train, but got 8 for arch, search",
    ),
    "an empty class": (lambda f: (flat()(f), emptied("dog")(f)), SHARE, "/dog: must hold images (.jpg, "),
    "a class of hidden images": (
        lambda folder: (flat()(folder), emptied("dog")(folder), add("dog/.a.png")(folder)),
        SHARE,
        "/dog: must hold images (.jpg, .png, ...), but got none (left out: 1 hidden)",
    ),
    "one class": (
        lambda folder: (flat()(folder), shutil.rmtree(folder / "dog")),
        SHARE,
        ": must hold at least 2 classes",
    ),
    "one class to train": (
        lambda f: shutil.rmtree(f / "train/dog"),
        {},
        "/train: must hold at least 2 classes, but got ",
    ),
    "images without classes": (
        lambda folder: (emptied(".")(folder), add("0.png", "1.png")(folder)),
        SHARE,
        ": must hold one subfolder of images per class, but got none",
    ),
    "an empty folder": (emptied("."), SHARE, ": must hold one subfolder of images per class, but got none"),
    "hidden folders alone": (
        lambda folder: (emptied(".")(folder), add(".cat/0.png", "__MACOSX/dog/0.png")(folder)),
        SHARE,
        ": must hold one subfolder of images per class, but got none",
    ),
    "parts without classes": (
        lambda folder: (emptied("train", "test")(folder), add("train/0.png", "test/0.png")(folder)),
        {},
        "/train: must hold one subfolder of images per class, but got none",
    ),
    "test images without classes": (
        lambda folder: (emptied("test")(folder), add("test/0.png", "test/1.png")(folder)),
        {},
        "/test: must hold one subfolder of images per class, but got none",
    ),
    "an unknown class": (move(("test/dog", "test/cow")), {}, "/test/cow: must be a class of "),
    "an unknown class in val": (move(("test", "val"), ("val/dog", "val/Dog")), {}, "/val/Dog: must be a class of "),
    "an empty class to train": (emptied("train/dog"), {}, "/train/dog: must hold images "),
    "an empty class to test": (emptied("test/dog"), {}, "/test/dog: must hold images ("),
    "train is test": (linked("test", "train", away="../away"), {}, "/train: must lie apart from "),
    "val is train": (
        lambda folder: (shutil.rmtree(folder / "test"), linked("val", "train")(folder)),
        {},
        "/train: must lie apart from ",
    ),
    "a class elsewhere": (
        linked("train/cat", "../../away", away="../away"),
        {},
        "/train/cat: must lie in ",
    ),
    "a class of one folder elsewhere": (
        lambda folder: (flat()(folder), linked("dog", "../away", away="../away")(folder)),
        SHARE,
        "/dog: must lie in ",
    ),
    "an image of two classes": (
        lambda folder: (
            add("store/x.png")(folder),
            linked("train/cat/x.png", "../../store/x.png")(folder),
            linked("train/dog/x.png", "../../store/x.png")(folder),
        ),
        {},
        "/train/dog/x.png: must be an image of one class and part, but ",
    ),
    "an image of two parts": (
        lambda folder: (
            move(("test", "val"))(folder),
            add("store/x.png")(folder),
            linked("train/cat/x.png", "../../store/x.png")(folder),
            linked("val/cat/x.png", "../../store/x.png")(folder),
        ),
        {},
        "/val/cat/x.png: must be an image of one class and part, but ",
    ),
    "annotations without a class": (
        annotated("0.png\tcat\n1.png\n", "0.png", "1.png"),
        {},
        "/val/val_annotations.txt, line 2: must be a file's name and its class, separated by a tab, but got '1.png'",
    ),
    "annotations of an unknown class": (
        annotated("0.png\tcow\t0\t0\t7\t7\n", "0.png"),
        {},
        "/val/val_annotations.txt, line 1: must name a class of the training part, but got 'cow'",
    ),
    "annotations that name an image twice": (
        annotated("0.png\tcat\n\n0.png\tdog\n", "0.png"),
        {},
        "/val/val_annotations.txt, line 3: must name an image that no other line names, but line 1 names it, too: '0",
    ),
    "annotations of an image that isn't there": (
        annotated("0.png\tcat\n1.png\tdog\n", "0.png"),
        {},
        "/val/val_annotations.txt, line 2: must name an image in ",
    ),
    "no annotations": (annotated("\n", "0.png"), {}, "/val/val_annotations.txt: must have a line for each image, but"),
    "annotations not in UTF-8": (annotated(b"\xff\t", "0.png"), {}, "/val/val_annotations.txt: must be text in UTF-8"),
    "a share beside annotations": (
        annotated("0.png\tcat\n", "0.png"),
        SHARE,
        "spec.yaml: data.splits.test: must be absent, since the data have a test part of their own (val), but got 0.2",
    ),
    "val without classes and annotations": (
        lambda folder: (annotated("", "0.png")(folder), (folder / "val/val_annotations.txt").unlink()),
        {},
        "/val/images: must be a class of ",
    ),
    "a class not in UTF-8": (
        lambda folder: (flat()(folder), (folder / "dog").rename(folder / os.fsdecode(b"d\xf6g"))),
        SHARE,
        ": a class must have a name in UTF-8, but got bytes b'd\\xf6g'",
    ),
    "a part to train not in UTF-8": (
        move(("train/dog", os.fsdecode(b"train/d\xf6g"))),
        {},
        "/train: a class must have a name in UTF-8, but got bytes b'd\\xf6g'",
    ),
}


@pytest.mark.parametrize("change, data, expected", LAYOUTS.values(), ids=LAYOUTS)
def test_a_folder_laid_out_wrongly(search, folder_of_images, change, data, expected):
    change(folder_of_images)
    line = search(**FOLDER | {"splits": SPLITS} | data)
    place = "" if expected.startswith("spec.yaml") else str(folder_of_images)
    assert line.startswith(f"{place}{expected}"), line


KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "no resolution": (
        {"resolution": None},
        "data.resolution: must be given (pixels a side, or height x width) when 'name' is folder, but",
    ),
    "a share of all": (
        {"splits": {"test": 1.0}},
        "data.splits.test: must be a fraction above 0 and below 1, or a whole nu",
    ),
    "less than nothing": (
        {"splits": {"test": -3}},
        "data.splits.test: must be a fraction above 0 and below 1, or a whole ",
    ),
    "a share in words": (
        {"splits": {"test": "a fifth"}},
        "data.splits.test: must be a fraction above 0 and below 1, or a ",
    ),
    "yes": (
        {"splits": {"test": True}},
        "data.splits.test: must be a fraction above 0 and below 1, or a whole number of at",
    ),
    "another word": ({"unreadable": "skip"}, "data.unreadable: must be 'refuse' or 'leave_out', but got 'skip'"),
    "no word": ({"unreadable": True}, "data.unreadable: must be 'refuse' or 'leave_out', but got True"),
    "names in another order": (
        {"class_names": ["dog", "cat"]},
        "data.class_names: must be in the order of the data's classes ('cat, dog'), but got 'dog' for 'cat'",
    ),
    "names of other classes": (
        {"class_names": ["bird", "cat"]},
        "data.class_names: must be in the order of the data's classes ('cat, dog'), but got 'cat' for 'dog'",
    ),
}


@pytest.mark.parametrize("data, expected", KEYS.values(), ids=KEYS)
def test_keys_of_a_folder(search, folder_of_images, data, expected):
    line = search(**FOLDER | data)
    assert line.startswith(f"spec.yaml: {expected}"), line


OF_OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "a share of digits": (
        {"name": "digits", "splits": {"test": 0.2}},
        "data.splits.test: must be absent when 'name' is digits, which has a test part of its own, but got 0.2",
    ),
    "a share of arrays": (
        {"name": "npz", "path": "a.npz", "splits": {"test": 10}},
        "data.splits.test: must be absent when 'name' is npz, which has a test part of its own, but got 10",
    ),
    "unreadable arrays": (
        {"name": "npz", "path": "a.npz", "unreadable": "leave_out"},
        "data.unreadable: must be absent when 'name' is npz (it is for folder, csv), but got 'leave_out'",
    ),
    "links of a CSV file": (
        {"name": "csv", "path": "a.csv", "resolution": 8, "follow_links": True},
        "data.follow_links: must be absent when 'name' is csv (it is for folder), but got True",
    ),
    "no CSV file": (
        {"name": "csv", "resolution": 8},
        "data.path: must name the CSV file of paths and labels when 'name' is csv, but got nothing",
    ),
    "no resolution of a CSV file": (
        {"name": "csv", "path": "a.csv"},
        "data.resolution: must be given (pixels a side, or height x width) when 'name' is csv, but got nothing",
    ),
    "a root of a CSV file": (
        {"name": "csv", "path": "a.csv", "resolution": 8, "root": "data"},
        "data.root: must be absent when 'name' is csv (it is for cifar10, ",
    ),
}


@pytest.mark.parametrize("data, expected", OF_OTHERS.values(), ids=OF_OTHERS)
def test_keys_of_other_sets(search, data, expected):
    assert search(**data).startswith(f"spec.yaml: {expected}")


def test_a_folder_with_another_number_of_classes(search, folder_of_images):
    write_image(folder_of_images / "train/cow/1.png")
    line = search(**FOLDER, splits=SPLITS)
    assert line == "space.yaml: classes: must be 3, as in the data, but got 2"


def test_a_file_where_a_folder_should_be(search, project):
    (project / "set").write_bytes(b"")
    line = search(**FOLDER)
    rule = "must be a folder that holds train and test, or one subfolder of images per class"
    assert line == f"{project / 'set'}: {rule}, but got a file"
    (project / "set").unlink()
    assert search(**FOLDER) == f"{project / 'set'}: {rule}, but got no such folder"
