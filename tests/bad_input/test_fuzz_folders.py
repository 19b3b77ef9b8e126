"""Image folders and CSV files of random names, files and links: read, each image once, or refused in one line."""

import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import encoded, png_that_claims

from aebnas.core.errors import UserError
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_files.files import Files
from aebnas.data.image_files.folder_layout import folder_layout
from aebnas.data.image_files.listing import Listing, list_images
from aebnas.data.image_set import ImageSet
from aebnas.data.splits import load_splits

MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "TIFF": ("F", "I", "CMYK", "RGBA"),
    "GIF": ("P",),
    "WEBP": ("RGBA",),
}
"""What the formats hold."""
SIZES = [(5, 3), (1, 1), (1, 40), (40, 1), (17, 33)]
SOUND = encoded("PNG", (5, 3))
CONTENTS = [encoded(kind, SIZES[0], mode) for kind, modes in MODES.items() for mode in modes]
CONTENTS += [encoded("PNG", size) for size in SIZES]
CONTENTS += [encoded("JPEG")[:40], encoded("PNG")[:-40], png_that_claims(20_000, 20_000), png_that_claims(0, 1)]
CONTENTS += [b"", b"text"]
NAMES = ["a", "b", ".a", "__MACOSX", "A", "train", "test", "Val", "ä", os.fsdecode(b"\xff"), "a b", "[a]", "\n"]
ENDS = ["", ".png", ".jpg", ".JFIF", ".gif", ".txt", ".db", "."]
TARGETS = [".", "..", "../..", "/", "nowhere", "a.png", "../a", "../../test", "../../../out", "../../out/a.png"]

file_names = st.builds(
    str.__add__, st.sampled_from(NAMES) | st.text("ab.~é", min_size=1, max_size=3), st.sampled_from(ENDS)
)
places = st.builds(
    lambda part, inner, name: [part, *inner, name],
    st.sampled_from(["train", "train", "test", "val", "valid", "Test", "a", "b", "out"]),
    st.lists(st.sampled_from(NAMES), max_size=3),
    file_names,
)
files = st.tuples(places, st.sampled_from(CONTENTS))
links = st.tuples(places, st.sampled_from(TARGETS))
pipes = st.tuples(places, st.none())


LAYOUTS = [("train", "test"), ("train", "val"), ("Train", "TEST", "val"), ("train",), ("",), ()]
"""Folders that hold a sound set's folders of classes."""


def build(root: Path, parts: tuple[str, ...], entries: list[tuple[list[str], bytes | str | None]]) -> None:
    """Four sound images of each of two classes in each part, and what can be made of the entries; those in the way of
    others are skipped.
    """
    for part in parts:
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for number in range(4):
                (root / part / name / f"{number}.png").write_bytes(SOUND)
    for place, content in entries:
        path = root.joinpath(*place)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.symlink_to(content)
            elif content is None:
                os.mkfifo(path)
            elif not path.exists() and not path.is_symlink():  # writing to a pipe would wait for its reader
                path.write_bytes(content)


def check(images: ImageSet) -> None:
    """Every image is a file, there once."""
    assert isinstance(images.source, Files)
    assert len({os.path.realpath(path) for path in images.source.paths}) == len(images)
    images.pixels()


def check_folder(listing: Listing, inside: str) -> None:
    """Every image lies in the folder of its class, by a name that isn't hidden."""
    below = [Path(path).relative_to(inside) for path in listing.paths]
    assert not any(name.startswith(".") for path in below for name in path.parts)
    assert [listing.class_names[label] for label in listing.labels] == [path.parts[0] for path in below]


def load_all(spec: DataSpec, base: Path) -> tuple[Listing, Listing]:
    """Everything that a search and an evaluation load, checked against each other."""
    names = class_names(spec, base)
    listings = list_images(spec, base, "train"), list_images(spec, base, "test")
    train = load_train(spec, base)
    check(train)
    assert names == listings[0].class_names and len(names) == train.classes and all(name.encode() for name in names)
    assert len(load_splits(spec, base).train.labels.unique()) == train.classes
    test = load_test(spec, base)
    check(test)
    assert isinstance(train.source, Files) and isinstance(test.source, Files)
    assert not {*map(os.path.realpath, train.source.paths)} & {*map(os.path.realpath, test.source.paths)}
    if spec.unreadable == "refuse":
        assert train.source.paths == listings[0].files and test.source.paths == listings[1].files
    return listings


def spec_of(**data: Any) -> DataSpec:
    splits = {"search": 2, "calibrate": 2, "certify": 0, "test": data.pop("test", 0)}
    return DataSpec.model_validate({"resolution": 4, "splits": splits} | data)


SETTINGS: dict[str, Any] = {
    "channels": st.sampled_from([1, 3]),
    "unreadable": st.sampled_from(["refuse", "leave_out"]),
    "test": st.sampled_from([0, 0.25, 2, 5]),
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@given(
    parts=st.sampled_from(LAYOUTS),
    data=st.fixed_dictionaries(SETTINGS | {"follow_links": st.booleans()}),
    entries=st.lists(files | links | pipes, max_size=8),
)
@settings(deadline=None, max_examples=100)
def test_random_folders_are_read_or_refused_in_one_line(
    parts: tuple[str, ...], data: dict[str, Any], entries: list[tuple[list[str], bytes | str | None]]
) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base) / "set"
        root.mkdir()
        build(root, parts, entries)
        spec = spec_of(name="folder", path=str(root), **data)
        try:
            train, test = load_all(spec, Path(base))
        except UserError as error:
            assert str(error).isprintable() and str(error).startswith(("data.", base)), str(error)
            return
        inside = {path.split("/")[0] for path in [*train.paths, *test.paths]}
        layout = folder_layout(root, spec.splits.test)
        check_folder(train, layout.train)
        check_folder(test, layout.train if layout.test is None else layout.test)
        assert layout.train == "" or inside <= set(layout.parts)


cells = st.sampled_from(
    [
        "a/0.png",
        "./b/1.png",
        "b/../b/1.png",
        "link.png",
        "out.png",
        "gone.png",
        "a",
        "",
        " ",
        "a,b.png",
        '"',
        "\n",
        "\0",
    ]
)
labels = st.sampled_from(["x", "y", "x ", "1", "01", "2.5", "", "ä", "a\nb", "[bold]", "\x1b[31m", "x" * 3000])
split_names = st.sampled_from(["train", "Train", "test", "val", "VALID", "dev", ""])
rows = st.tuples(cells | st.text(max_size=4), labels | st.text(max_size=2), split_names)
heads = st.permutations(["path", "label", "split"]) | st.just(["path", "label", "id"]) | st.lists(st.text(max_size=5))


@given(
    sound=st.booleans(),
    head=heads,
    more=st.lists(rows, max_size=4),
    junk=st.binary(max_size=5) | st.just(b""),
    delimiter=st.sampled_from(",;\t"),
    data=st.fixed_dictionaries(SETTINGS),
    content=st.sampled_from(CONTENTS),
)
@settings(deadline=None, max_examples=100)
def test_random_csv_files_are_read_or_refused_in_one_line(
    sound: bool,
    head: list[str],
    more: list[tuple[str, str, str]],
    junk: bytes,
    delimiter: str,
    data: dict[str, Any],
    content: bytes,
) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base) / "set"
        build(root, ("",), [(["a", "4.png"], content), (["link.png"], "a/1.png"), (["out.png"], "../out.png")])
        good = [(f"{name}/{number}.png", name, "train") for name in "ab" for number in range(5 if name == "a" else 4)]
        with (root / "labels.csv").open("w", encoding="utf-8", errors="surrogatepass", newline="") as text:
            table = csv.writer(text, delimiter=delimiter)
            table.writerow(head)
            for path, label, split in [*(good if sound else []), *more]:
                cell = {"path": path, "label": label, "split": split}
                table.writerow([cell.get(name, "") for name in head])
        with (root / "labels.csv").open("ab") as file:
            file.write(junk)
        spec = spec_of(name="csv", path=str(root / "labels.csv"), **data)
        try:
            train, test = load_all(spec, Path(base))
        except UserError as error:
            assert str(error).isprintable() and str(error).startswith(("data.", base)), str(error)
            return
        if sound and not more and "split" in head:
            assert len(train.paths) + len(test.paths) == len(good)


@pytest.mark.parametrize("parts", LAYOUTS[:-1])
def test_a_folder_that_is_sound_is_read(tmp_path: Path, parts: tuple[str, ...]) -> None:
    """So that the tests above aren't of errors alone."""
    build(tmp_path / "set", parts, [([parts[0], "a", ".b.png"], b""), ([parts[0], "a", "loop"], "..")])
    data = {"name": "folder", "path": str(tmp_path / "set"), "test": 0 if len(parts) > 1 else 2}
    train, test = load_all(spec_of(**data), tmp_path)
    assert len(train.paths) == (8 if len(parts) > 1 else 6) and len(test.paths) == (8 if len(parts) > 1 else 2)
    (tmp_path / "set" / train.paths[0]).write_bytes(b"")
    with pytest.raises(UserError):
        load_train(spec_of(**data), tmp_path).pixels()
    assert len(load_train(spec_of(**data, unreadable="leave_out"), tmp_path).pixels()) == len(train.paths) - 1
