"""Which images a set in files has in each part, whatever its layout; no image is read."""

import csv
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aebnas.core.errors import UserError
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_files.listing import Listing, list_images
from aebnas.data.splits import load_splits
from aebnas.data.stratified import cut_stratified

FOLDER = {"name": "folder", "path": "set", "resolution": 4}
CSV = {"name": "csv", "path": "set/labels.csv", "resolution": 4}


def touch(base: Path, *paths: str) -> None:
    """Files that only have names: none of these tests may read one."""
    for path in paths:
        file = base / "set" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def classes(count: int, *folders: str) -> list[str]:
    return [f"{folder}/{number}.png" for folder in folders for number in range(count)]


def lists(base: Path, where: dict[str, Any] = FOLDER, **splits: Any) -> tuple[Listing, Listing]:
    """The listings of both parts, which `load_train` and `load_test` have, too."""
    spec = DataSpec.model_validate(where | {"splits": splits})
    train, test = list_images(spec, base, "train"), list_images(spec, base, "test")
    for listing, images in ((train, load_train(spec, base)), (test, load_test(spec, base))):
        assert images.labels.tolist() == [*listing.labels] and images.classes == len(listing.class_names)
        assert all(Path(file).is_file() for file in listing.files)
    assert class_names(spec, base) == train.class_names == test.class_names
    return train, test


def with_labels(listing: Listing) -> list[str]:
    return [f"{label} {path}" for path, label in zip(listing.paths, listing.labels, strict=True)]


@pytest.mark.parametrize("held_out", ["test", "Test", "val", "VALID", "validation"])
@pytest.mark.parametrize("trained", ["train", "Train"])
def test_two_parts(tmp_path: Path, trained: str, held_out: str) -> None:
    touch(tmp_path, *classes(2, f"{trained}/dog", f"{trained}/cat", f"{held_out}/dog"))
    train, test = lists(tmp_path)
    assert with_labels(train) == [
        *(f"0 {trained}/cat/{number}.png" for number in range(2)),
        *(f"1 {trained}/dog/{number}.png" for number in range(2)),
    ]
    assert with_labels(test) == [f"1 {held_out}/dog/{number}.png" for number in range(2)]
    assert train.class_names == ("cat", "dog") and train.root == tmp_path / "set"
    plain = held_out.lower() == "test"
    said = [] if plain else [f"{held_out} is the test set, since there is no folder test"]
    assert [*train.notes] == [*said, "the test set has no image of 1 of 2 classes (cat)"]


def test_three_parts(tmp_path: Path) -> None:
    """The validation images are neither trained on nor tested on, as in all runs before."""
    touch(tmp_path, *classes(2, "train/cat", "train/dog", "test/cat", "test/dog", "val/cat", "val/dog"))
    train, test = lists(tmp_path)
    assert {path.split("/")[0] for path in train.paths} == {"train"}
    assert {path.split("/")[0] for path in test.paths} == {"test"}
    assert train.notes == ("val is not read, since test is the test set",)


@pytest.mark.parametrize("inside", ["", "train/"])
def test_one_part_is_cut(tmp_path: Path, inside: str) -> None:
    touch(tmp_path, *classes(10, f"{inside}cat", f"{inside}dog/deep"), *classes(1, f"{inside}cow"))
    touch(tmp_path, ".DS_Store" if not inside else "train/.DS_Store", f"{inside}README")
    train, test = lists(tmp_path, test=0.2)
    assert train.class_names == ("cat", "cow", "dog")
    assert Counter(test.labels) == {0: 2, 2: 2} and Counter(train.labels) == {0: 8, 1: 1, 2: 8}
    assert not set(train.paths) & set(test.paths)
    assert train.notes == (
        "4 of 21 images are the test set (data.splits.test)",
        "the test set has no image of 1 of 3 classes (cow)",
    )
    assert train.left_out == {"hidden": 1, "file(s) beside the folders of classes": 1}
    again = lists(tmp_path, test=0.2)
    assert again[1].paths == test.paths
    assert lists(tmp_path, test=0.2, seed=1)[1].paths != test.paths
    assert len(lists(tmp_path, test=5)[1].paths) == 5


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path, *classes(3, "bus", "car", "train"))
    train, test = lists(tmp_path, test=3)
    assert train.class_names == ("bus", "car", "train") and len(train.paths) == 6
    assert sorted(test.labels) == [0, 1, 2]


def test_folders_beside_the_parts_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *classes(2, "train/cat", "train/dog", "test/cat", "test/dog", "more/cat", ".git/dog"))
    assert lists(tmp_path)[0].notes == ("classes are the folders in train, not those beside it (more)",)
    shutil.rmtree(tmp_path / "set/test")
    train, test = lists(tmp_path, test=2)
    assert len(train.paths) == len(test.paths) == 2 and "(more)" in train.notes[0]


def test_links_of_one_folder_of_classes(tmp_path: Path) -> None:
    """The rules of the other layouts: each image once, none from outside, nothing hidden."""
    touch(tmp_path, *classes(4, "cat", "dog"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/0.png").touch()
    for place, target in {
        "cat/loop": "..",
        "cat/self": ".",
        "cat/dog.png": "../dog/0.png",
        "cat/out.png": "../../out/0.png",
        "again": "cat",
        "dog/all": "/",
    }.items():
        (tmp_path / "set" / place).symlink_to(target)
    train, test = lists(tmp_path, test=2)
    assert sorted([*train.paths, *test.paths]) == classes(4, "cat", "dog")
    assert train.left_out == {
        "symbolic link(s) to what is read anyway": 5,
        "symbolic link(s) that lead outside (data.follow_links: true follows them)": 1,
    }


def write_csv(base: Path, rows: list[dict[str, str]], **options: Any) -> None:
    with (base / "set/labels.csv").open("w", encoding="utf-8", newline="") as text:
        table = csv.DictWriter(text, list(rows[0]), **options)
        table.writeheader()
        table.writerows(rows)


def test_a_csv_file_and_a_folder_have_the_same_images(tmp_path: Path) -> None:
    touch(tmp_path, *classes(5, "cat", "dog"))
    rows = [{"path": path, "label": path.split("/")[0]} for path in classes(5, "cat", "dog")]
    random.Random(0).shuffle(rows)
    write_csv(tmp_path, rows)
    (tmp_path / "set/labels.csv").rename(tmp_path / "labels.csv")
    for row in rows:
        row["path"] = f"set/{row['path']}"
    expected = lists(tmp_path, test=4)
    (tmp_path / "labels.csv").rename(tmp_path / "set/labels.csv")
    assert lists(tmp_path, CSV, test=4) == tuple(
        Listing(part.root, part.paths, part.labels, part.class_names, {}, part.notes) for part in expected
    )


@pytest.mark.parametrize("held_out", ["test", "val", "Valid", "VALIDATION"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file_with_parts(tmp_path: Path, held_out: str, delimiter: str) -> None:
    touch(tmp_path, *classes(2, "a b", "c"))
    rows = [
        {"ID": "0", "Label": " dog ", "Path": "a b/0.png", "Split": "Train"},
        {"ID": "1", "Label": "cat", "Path": "./c/0.png", "Split": "train "},
        {"ID": "", "Label": "cat", "Path": str(tmp_path / "set/a b/1.png"), "Split": held_out},
        {"ID": "3", "Label": "dog", "Path": "c/../c/1.png", "Split": held_out},
    ]
    write_csv(tmp_path, rows, delimiter=delimiter)
    train, test = lists(tmp_path, CSV)
    assert with_labels(train) == ["1 a b/0.png", "0 c/0.png"]
    assert with_labels(test) == ["0 a b/1.png", "1 c/../c/1.png"]
    lower = held_out.lower()
    said = f"split '{lower}' is the test set, since no row is of split 'test'"
    assert [*train.notes] == ([] if lower == "test" else [said])


def test_a_csv_file_with_three_parts(tmp_path: Path) -> None:
    touch(tmp_path, *classes(6, "a"))
    names = ["train", "train", "test", "test", "val", "valid"]
    rows = [
        {"path": f"a/{number}.png", "label": "xy"[number % 2], "split": split} for number, split in enumerate(names)
    ]
    write_csv(tmp_path, rows)
    train, test = lists(tmp_path, CSV)
    assert train.paths == ("a/0.png", "a/1.png") and test.paths == ("a/2.png", "a/3.png")
    assert train.left_out == {f"row(s) of split '{name}', since 'test' is the test set": 1 for name in ("val", "valid")}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["2", "10", "1"], ("1", "2", "10")),
        (["0.5", "-1", "10"], ("-1", "0.5", "10")),
        (["2", "10", "one"], ("10", "2", "one")),
        (["ä", "b", "B"], ("B", "b", "ä")),
    ],
)
def test_labels_are_sorted_as_numbers_or_text(tmp_path: Path, labels: list[str], expected: tuple[str, ...]) -> None:
    touch(tmp_path, *classes(2, "a", "b", "c"))
    paths = classes(2, "a", "b", "c")
    write_csv(tmp_path, [{"path": path, "label": labels[number % 3]} for number, path in enumerate(paths)])
    train, test = lists(tmp_path, CSV, test=3)
    assert train.class_names == expected
    named = {
        path: train.class_names[label]
        for part in (train, test)
        for path, label in zip(part.paths, part.labels, strict=True)
    }
    assert named == {path: labels[number % 3] for number, path in enumerate(paths)}


def test_what_spreadsheets_write(tmp_path: Path) -> None:
    """A byte order mark, line ends of Windows, quotes, blank lines."""
    touch(tmp_path, "a,b.png", 'c"d.png', "e.png", "f\ng.png")
    content = '\ufeff"path","label"\r\n\r\n"a,b.png",x\r\n"c""d.png",y\r\n , \r\n"e.png", "x"\r\n"f\ng.png",y\r\n'
    (tmp_path / "set/labels.csv").write_bytes(content.encode())
    train, test = lists(tmp_path, CSV, test=2)
    assert sorted([*train.paths, *test.paths]) == ["a,b.png", 'c"d.png', "e.png", "f\ng.png"]


def test_sets_without_files_have_no_listing() -> None:
    with pytest.raises(ValueError, match=r"spec must be of a set in files \(folder, csv\), but got digits"):
        list_images(DataSpec(name="digits"), Path(), "train")


def test_a_search_reads_no_test_image(tmp_path: Path) -> None:
    """Whatever lies in the files of the test set."""
    from image_files import write_image

    for path in classes(10, "cat", "dog"):
        write_image(tmp_path / "set" / path)
    splits = {"test": 4, "search": 4, "calibrate": 4, "certify": 0}
    spec = DataSpec.model_validate(FOLDER | {"splits": splits})
    for file in list_images(spec, tmp_path, "test").files:
        Path(file).write_bytes(b"")
    cut = load_splits(spec, tmp_path)
    assert [len(part.pixels()) for part in (cut.train, cut.search, cut.calibrate)] == [8, 4, 4]
    with pytest.raises(UserError, match="but got an empty file"):
        load_test(spec, tmp_path).pixels()


@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    size=st.floats(0.05, 0.6) | st.integers(1, 60),
    seed=st.integers(0, 2**63 - 1),
)
def test_a_cut_is_stratified_and_leaves_every_class_an_image(counts: list[int], size: float | int, seed: int) -> None:
    labels = torch.tensor([label for label, count in enumerate(counts) for _ in range(count)])
    total = len(labels)
    wanted = round(size * total) if isinstance(size, float) else size
    if not len(counts) <= wanted <= total - len(counts):
        with pytest.raises(UserError, match=r"data\.splits"):
            cut_stratified(labels, {"test": size}, seed)
        return
    parts = cut_stratified(labels, {"test": size}, seed)
    assert sorted([*parts["train"].tolist(), *parts["test"].tolist()]) == list(range(total))
    assert len(parts["test"]) == wanted
    assert set(labels[parts["train"]].tolist()) == set(range(len(counts)))
    if min(counts) * (1 - wanted / total) >= 2:  # no class at its limit
        for label, count in enumerate(counts):
            assert abs(int((labels[parts["test"]] == label).sum()) - count * wanted / total) <= 1
