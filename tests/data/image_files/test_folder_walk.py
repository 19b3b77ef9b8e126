"""What of an image folder is read as an image of which class: links, hidden entries, other files."""

import os
from pathlib import Path

import pytest
from PIL import Image

from aebnas.core.errors import UserError
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_files import folder_walk as walk
from aebnas.data.image_files.files import Files
from aebnas.data.image_set import ImageSet

SPEC = DataSpec(name="folder", path=Path("set"), resolution=4)
FOLLOWING = SPEC.model_copy(update={"follow_links": True})


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, "PNG")


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder that holds `set`: three images of each of two classes to train, one to test."""
    for name in ("cat", "dog"):
        for number in range(3):
            write(tmp_path / f"set/train/{name}/{number}.png")
        write(tmp_path / f"set/test/{name}/0.png")
    return tmp_path


def files(images: ImageSet, base: Path) -> list[str]:
    """Paths of the images below `set`, each with its label."""
    assert isinstance(images.source, Files)
    return [
        f"{label} {Path(path).relative_to(base / 'set').as_posix()}"
        for path, label in zip(images.source.paths, images.labels.tolist(), strict=True)
    ]


PLAIN = [f"{label} train/{name}/{number}.png" for label, name in enumerate(("cat", "dog")) for number in range(3)]


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("train/cat/loop", ".."),
        ("train/cat/self", "."),
        ("train/cat/all", "../../.."),
        ("train/cat/root", "/"),
        ("train/cat/held-out", "../../test/cat"),
        ("train/cat/dog.png", "../dog/0.png"),
        ("train/cat/again.png", "0.png"),
        ("train/again", "cat"),
        ("test/cat/known", "../../train/cat"),
    ],
)
@pytest.mark.parametrize("spec", [SPEC, FOLLOWING], ids=["as usual", "following links"])
def test_links_that_lead_back_are_left_out(base: Path, place: str, target: str, spec: DataSpec) -> None:
    link(base / "set" / place, target)
    train = load_train(spec, base)
    assert files(train, base) == PLAIN and train.classes == 2
    assert train.left_out == {walk.READ_ANYWAY: 1}
    assert files(load_test(spec, base), base) == ["0 test/cat/0.png", "1 test/dog/0.png"]
    assert class_names(spec, base) == ("cat", "dog")


def test_links_to_elsewhere_in_the_folder_are_followed_once(base: Path) -> None:
    write(base / "set/store/a/x.png")
    link(base / "set/store/a/up", "..")
    link(base / "set/store/a/self", ".")
    link(base / "set/train/cat/x.png", "../../store/a/x.png")
    link(base / "set/train/cat/y.png", "../../store/a/x.png")
    link(base / "set/train/cat/z", "../../store/a")
    train = load_train(SPEC, base)
    found = [file for file in files(train, base) if file not in PLAIN]
    assert len(found) == 1 and found[0].startswith("0 train/cat/")
    # the same image by two more ways, a folder within itself, and `a` again on the way through `up`
    assert train.left_out == {walk.READ_ANYWAY: 4}


def test_an_image_under_two_classes_or_in_two_parts_is_refused(base: Path) -> None:
    write(base / "set/store/x.png")
    link(base / "set/train/cat/x.png", "../../store/x.png")
    for other in ("train/dog/x.png", "test/cat/x.png"):
        link(base / "set" / other, "../../store/x.png")
        with pytest.raises(UserError) as raised:
            load_train(SPEC, base)
        first = base / "set/train/cat/x.png"
        rule = "must be an image of one class and part, but"
        assert str(raised.value) == f"{base / 'set' / other}: {rule} {first} leads to it, too"
        (base / "set" / other).unlink()


@pytest.mark.parametrize("one, other", [("test", "train"), ("train", "test")])
def test_parts_that_are_the_same_are_refused(base: Path, one: str, other: str) -> None:
    (base / "set" / one).rename(base / "away")
    link(base / "set" / one, other)
    for load in (load_train, load_test):
        with pytest.raises(UserError, match=r"set/train: must lie apart from .*/set/test, but got symbolic links to"):
            load(SPEC, base)


def test_links_that_lead_outside_are_followed_only_when_asked(base: Path) -> None:
    write(base / "other/x.png")
    link(base / "other/back", base / "set/train")
    link(base / "set/train/cat/more", base / "other")
    link(base / "set/train/cat/x.png", base / "other/x.png")
    train = load_train(SPEC, base)
    assert files(train, base) == PLAIN and train.left_out == {walk.LEADS_OUTSIDE: 2}
    followed = load_train(FOLLOWING, base)
    assert len(followed) == 7 and followed.left_out == {walk.READ_ANYWAY: 2}


@pytest.mark.parametrize("place", ["train", "train/cat"])
def test_classes_and_parts_outside(base: Path, place: str) -> None:
    """Leaving them out would change the problem, so they are refused."""
    (base / "set" / place).rename(base / "away")
    link(base / "set" / place, base / "away")
    with pytest.raises(UserError) as raised:
        load_train(SPEC, base)
    rule = f"must lie in {base / 'set'} unless data.follow_links is true, but got a symbolic link to {base / 'away'}"
    assert str(raised.value) == f"{base / 'set' / place}: {rule}"
    assert files(load_train(FOLLOWING, base), base) == PLAIN


def test_the_folder_itself_may_be_a_link(base: Path) -> None:
    (base / "set").rename(base / "real")
    link(base / "set", "real")
    assert files(load_train(SPEC, base), base) == PLAIN


def test_links_that_lead_nowhere_and_what_is_no_file(base: Path) -> None:
    link(base / "set/train/cat/gone.png", "nowhere.png")
    link(base / "set/train/cat/round.png", "round.png")
    link(base / "set/train/gone", "nowhere")
    os.mkfifo(base / "set/train/cat/pipe.png")  # reading it would never end
    train = load_train(SPEC, base)
    assert files(train, base) == PLAIN and train.left_out == {walk.LEADS_NOWHERE: 3, walk.NO_FILE: 1}


def test_files_beside_the_classes_are_counted(base: Path) -> None:
    write(base / "set/train/lost.png")
    link(base / "set/train/linked.png", base / "elsewhere.png")
    write(base / "elsewhere.png")
    assert load_train(SPEC, base).left_out == {walk.BESIDE_CLASSES: 2}


def test_a_class_of_which_nothing_is_read_says_why(base: Path) -> None:
    write(base / "other/x.png")
    link(base / "set/train/cow/x.png", base / "other/x.png")
    with pytest.raises(UserError) as raised:
        load_train(SPEC, base)
    assert str(raised.value).startswith(f"{base / 'set/train/cow'}: must hold images")
    why = "(left out: 1 symbolic link(s) that lead outside (data.follow_links: true follows them))"
    assert str(raised.value).endswith(f"but got none {why}")


def test_hidden_entries_are_not_data(base: Path) -> None:
    """Neither classes, nor images, nor folders of images."""
    for part in ("train", "test"):
        write(base / f"set/{part}/.ipynb_checkpoints/0-checkpoint.png")
        write(base / f"set/{part}/__MACOSX/cat/._0.png")
        write(base / f"set/{part}/cat/.ipynb_checkpoints/0-checkpoint.png")
        write(base / f"set/{part}/cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg")
        (base / f"set/{part}/cat/._0.png").write_bytes(b"\0\5\x16\7")  # what macOS keeps of a file elsewhere
        (base / f"set/{part}/.DS_Store").write_bytes(b"\0")
    link(base / "set/train/cat/.loop", ".")
    train, test = load_train(SPEC, base), load_test(SPEC, base)
    assert files(train, base) == PLAIN and train.pixels().shape == (6, 3, 4, 4)
    assert files(test, base) == ["0 test/cat/0.png", "1 test/dog/0.png"]
    assert train.left_out == {walk.HIDDEN: 13}
    assert class_names(SPEC, base) == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("a.jfif", "JPEG"), ("a.JPE", "JPEG"), ("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.tif", "TIFF")),
        *(("a.tga", "TGA"), ("a.ico", "ICO"), ("a.jp2", "JPEG2000"), ("a.pnm", "PPM"), ("a.dib", "DIB")),
    ],
)
def test_what_pillow_reads_is_an_image(base: Path, name: str, kind: str) -> None:
    path = base / "set/train/cat" / name
    Image.new("RGB", (16, 16), (200, 200, 200)).save(path, kind)
    train = load_train(SPEC, base)
    assert f"0 train/cat/{name}" in files(train, base) and not train.left_out
    assert (train.pixels()[3].int() - 200).abs().max() < 8


def test_files_of_other_formats_are_counted(base: Path) -> None:
    for name in ("a.txt", "b.TXT", "c.heic", "Thumbs.db", "noextension", "of.an\nother", "film.mpg", "picture.eps"):
        (base / "set/train/cat" / name).write_bytes(b"")
    train = load_train(SPEC, base)
    assert files(train, base) == PLAIN
    extensions = {".txt": 2, ".heic": 1, ".db": 1, "no known extension": 2, ".mpg": 1, ".eps": 1}
    assert train.left_out == {f"{walk.NO_IMAGE} ({end})": count for end, count in extensions.items()}
    for number in range(3):
        (base / f"set/train/cat/{number}.png").unlink()
    with pytest.raises(UserError) as raised:
        load_train(SPEC, base)
    said = str(raised.value).partition("set/train/cat: ")[2]
    assert said.startswith("must hold images (.jpg, .png, ...), but got none (left out: 2 file(s) that are not of an ")
