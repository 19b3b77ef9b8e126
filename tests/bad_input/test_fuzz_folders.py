"""Image folders of random names, files and links: they are read, each image once, or refused in one line."""

import io
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aebnas.core.errors import UserError
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_folder import Files
from aebnas.data.image_set import ImageSet
from aebnas.data.splits import load_splits


def encoded(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (5, 3)).save(buffer, kind)
    return buffer.getvalue()


CONTENTS = [encoded("PNG"), encoded("PNG", "LA"), encoded("PNG", "I;16"), encoded("GIF", "P"), encoded("JPEG", "CMYK")]
CONTENTS += [encoded("JPEG")[:40], b"", b"text"]
NAMES = ["a", "b", ".a", "__MACOSX", "A", "train", "ä", os.fsdecode(b"\xff"), "a b", "[a]", "\n"]
ENDS = ["", ".png", ".jpg", ".JFIF", ".gif", ".txt", ".db", "."]
TARGETS = [".", "..", "../..", "/", "nowhere", "a.png", "../a", "../../test", "../../../out", "../../out/a.png"]

file_names = st.builds(
    str.__add__, st.sampled_from(NAMES) | st.text("ab.~é", min_size=1, max_size=3), st.sampled_from(ENDS)
)
places = st.builds(
    lambda part, inner, name: [part, *inner, name],
    st.sampled_from(["train", "train", "test", "out"]),
    st.lists(st.sampled_from(NAMES), max_size=3),
    file_names,
)
files = st.tuples(places, st.sampled_from(CONTENTS))
links = st.tuples(places, st.sampled_from(TARGETS))
pipes = st.tuples(places, st.none())


def build(root: Path, sound: bool, entries: list[tuple[list[str], bytes | str | None]]) -> None:
    """What can be made of the entries; those in the way of others are skipped."""
    for part in ("train", "test") if sound else ():
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for number in range(4):
                (root / part / name / f"{number}.png").write_bytes(CONTENTS[0])
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


def check(images: ImageSet, root: Path, part: str) -> None:
    """Every image is a file of its class, by a name that isn't hidden, and there once."""
    assert isinstance(images.source, Files)
    below = [Path(path).relative_to(root / part) for path in images.source.paths]
    classes = sorted({path.parts[0] for path in below})
    assert len({os.path.realpath(path) for path in images.source.paths}) == len(images)
    assert not any(name.startswith(".") for path in below for name in path.parts)
    if part == "train":
        assert [classes[label] for label in images.labels.tolist()] == [path.parts[0] for path in below]
    images.pixels()


@given(
    sound=st.booleans(),
    follow=st.booleans(),
    channels=st.sampled_from([1, 3]),
    entries=st.lists(files | links | pipes, max_size=8),
)
@settings(deadline=None, max_examples=100)
def test_random_folders_are_read_or_refused_in_one_line(
    sound: bool, follow: bool, channels: int, entries: list[tuple[list[str], bytes | str | None]]
) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base) / "set"
        root.mkdir()
        build(root, sound, entries)
        splits = {"search": 2, "calibrate": 2, "certify": 0}
        settings_ = {"name": "folder", "path": str(root), "resolution": 4, "channels": channels, "splits": splits}
        spec = DataSpec.model_validate(settings_ | {"follow_links": follow})
        try:
            names = class_names(spec, Path(base))
            train = load_train(spec, Path(base))
            check(train, root, "train")
            assert names is not None and len(names) == train.classes and all(name.encode() for name in names)
            assert len(load_splits(spec, Path(base)).train.labels.unique()) == train.classes
            check(load_test(spec, Path(base)), root, "test")
        except UserError as error:
            assert str(error).isprintable() and str(error).startswith(("data.", base)), str(error)


def test_a_folder_that_is_sound_is_read() -> None:
    """So that the test above isn't one of errors alone."""
    with tempfile.TemporaryDirectory() as base:
        build(Path(base), True, [(["train", "a", ".b.png"], b""), (["train", "a", "loop"], "..")])
        spec = DataSpec.model_validate({"name": "folder", "path": base, "resolution": 4})
        assert len(load_train(spec, Path())) == 8
        (Path(base) / "train/a/0.png").write_bytes(b"")
        with pytest.raises(UserError):
            load_train(spec, Path()).pixels()
