"""Fingerprints of image sets, and the words for what has changed."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aebnas.core.errors import UserError
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_train
from aebnas.data.fingerprint import (
    FileFacts,
    changes,
    file_table,
    fingerprint,
    renamed_classes,
    with_contents,
)
from aebnas.data.image_set import ImageSet


def in_memory(seed: int = 0, labels: list[int] | None = None) -> ImageSet:
    pixels = torch.randint(256, (4, 1, 3, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return ImageSet.of(pixels, torch.tensor(labels or [0, 1, 0, 1]), 2)


def test_arrays_are_identified_by_pixels_and_labels_in_their_order():
    known = fingerprint(in_memory(), None)
    assert fingerprint(in_memory(), None) == known and len(known) == 32
    assert fingerprint(in_memory(seed=1), None) != known
    assert fingerprint(in_memory(labels=[1, 0, 0, 1]), None) != known
    assert fingerprint(in_memory().subset(torch.tensor([1, 0, 2, 3])), None) != known


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                Image.new("L", (8, 8), number).save(tmp_path / part / name / f"{number}.png")
    return tmp_path


def images_of(folder: Path) -> ImageSet:
    return load_train(DataSpec(name="folder", path=folder, resolution=8, channels=1), folder)


def table_of(folder: Path):
    return file_table(images_of(folder), folder)


def test_files_are_listed_by_their_names_below_the_folder_with_size_time_and_label(folder):
    table = table_of(folder)
    assert list(table) == [f"train/{name}/{number}.png" for name in "ab" for number in range(3)]
    about = (folder / "train/b/2.png").stat()
    assert table["train/b/2.png"] == FileFacts(about.st_size, about.st_mtime_ns, 1)
    assert file_table(in_memory(), folder) is None


def test_a_digest_of_files_depends_on_each_fact_but_not_on_where_the_folder_lies(folder, tmp_path):
    images, table = images_of(folder), table_of(folder)
    known = fingerprint(images, table)
    assert fingerprint(images, dict(table)) == known
    os.utime(folder / "train/a/0.png", ns=(0, 0))
    assert fingerprint(images, table_of(folder)) != known
    assert fingerprint(images, with_contents(table, folder)) != known


def test_every_kind_of_change_is_named_with_its_number_and_a_first_file(folder):
    old = table_of(folder)
    assert not changes(old, old) and str(changes(old, old)) == ""
    train = folder / "train"
    Image.new("L", (8, 8)).save(train / "a/3.png")
    Image.new("L", (8, 8)).save(train / "a/4.png")
    (train / "a/0.png").unlink()
    Image.effect_noise((32, 32), 50).save(train / "a/1.png")
    os.utime(train / "a/2.png", ns=(0, 0))
    found = changes(old, table_of(folder))
    assert str(found) == (
        "2 new (train/a/3.png), 1 gone (train/a/0.png), 1 of another size (train/a/1.png), "
        "1 of another time (train/a/2.png)"
    )
    moved = {"x.png": FileFacts(1, 2, 0)}
    assert str(changes(moved, {"x.png": FileFacts(1, 2, 1)})) == "1 of another class (x.png)"


def test_known_contents_count_instead_of_times(folder):
    old = with_contents(table_of(folder), folder)
    file = folder / "train/a/0.png"
    os.utime(file, ns=(0, 0))
    assert changes(old, table_of(folder)).touched == ("train/a/0.png",)
    assert not changes(old, with_contents(table_of(folder), folder, ["train/a/0.png"]))
    size = file.stat().st_size
    file.write_bytes(b"x" * size)
    assert changes(old, with_contents(table_of(folder), folder)).rewritten == ("train/a/0.png",)


def test_a_file_that_went_away_is_named(folder):
    images, table = images_of(folder), table_of(folder)
    (folder / "train/a/0.png").unlink()
    with pytest.raises(UserError, match=r"a/0.png: must be a readable image, but got FileNotFoundError"):
        file_table(images, folder)
    with pytest.raises(UserError, match=r"a/0.png: must be a readable image, but got FileNotFoundError"):
        with_contents(table, folder)


FACTS = st.builds(FileFacts, st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.sampled_from(["", "c", "d"]))
TABLES = st.dictionaries(st.sampled_from("abcdef"), FACTS)


@given(TABLES, TABLES)
def test_each_differing_file_is_counted_in_exactly_one_way(old, new):
    found = changes(old, new)
    counted = [name for names in (*found.certain, found.touched) for name in names]
    assert len(counted) == len(set(counted))

    def same(before: FileFacts, now: FileFacts) -> bool:
        identified = before.content == now.content if before.content and now.content else before.time_ns == now.time_ns
        return before.size == now.size and before.label == now.label and identified

    differing = {n for n in old.keys() | new.keys() if n not in old or n not in new or not same(old[n], new[n])}
    assert set(counted) == differing and bool(found) == bool(differing)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (("cat", "dog"), ""),
        (("cat", "zebra"), "'dog' is missing and 'zebra' is new"),
        (("cat",), "'dog' is missing"),
        (("cat", "dog", "emu", "fox"), "'emu' and 1 more are new"),
        (("dog", "cat"), "class 0 is 'dog' instead of 'cat'"),
    ],
)
def test_renamed_classes_are_named(new, words):
    assert renamed_classes(("cat", "dog"), new) == words
