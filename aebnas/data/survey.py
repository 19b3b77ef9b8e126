"""A look at a set of own images: how many of each class, their sizes and channels, and what is odd about them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from aebnas.core.errors import SpecError, UserError
from aebnas.core.spec_base import parse_spec
from aebnas.data.array_file import read_test, read_train_shape
from aebnas.data.class_names import named_classes
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.folder_walk import left_out_text
from aebnas.data.listing import list_images

EXAMINED = 2000
"""Files of a part that are opened, evenly spaced; more would take minutes."""
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L")
TEST_SHARE = 0.2
"""Of the images, where none are set aside as a test set."""
SMALL_CLASS = 5
"""Training images; a class of fewer can't be in every split with more than one."""
UNBALANCED = 5
"""Ratio of the largest class to the smallest."""
NAMED = 4
"""Names in a finding."""


@dataclass(frozen=True)
class Survey:
    """What a set of images looks like.

    `data` holds the keys of a spec's `data` part by which it is read, `train_k` and `test_k` the number of images of
    each class. `sizes` are the (height, width) of the images that were opened, of arrays the one that all have;
    `channels` is 1 where all of them are grey. `findings` say what is odd, a line each.
    """

    path: Path
    data: dict[str, Any]
    class_names: tuple[str, ...]
    train_k: tuple[int, ...]
    test_k: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    channels: int
    findings: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def train(self) -> int:
        """The number of training images."""
        return sum(self.train_k)

    @property
    def in_files(self) -> bool:
        """Whether each image is a file, which is resized when it is read."""
        return self.data["name"] != "npz"

    @property
    def median_side(self) -> int:
        """Median of the images' shorter sides, in pixels."""
        return int(median(min(size) for size in self.sizes))


def survey(path: Path) -> Survey:
    """Look at a folder of images, a CSV file of paths and labels, or an .npz file of arrays.

    Raises UserError for anything else, and for data that a search would refuse whatever the spec.
    """
    path = path.expanduser()
    if path.is_dir():
        return _survey_files(path, "folder")
    if not path.exists():
        raise UserError(f"--data must be a folder of images, a .npz or a .csv file, but '{path}' doesn't exist")
    if path.suffix.lower() in (".csv", ".tsv"):
        return _survey_files(path, "csv")
    return _survey_arrays(path)


def _survey_arrays(path: Path) -> Survey:
    (_, height, width, *channels), labels_n, classes = read_train_shape(path)
    _, tested_n, _ = read_test(path)
    spec = parse_spec(DataSpec, {"name": "npz", "path": str(path.absolute())}, None, "data")
    names = tuple(named_classes(spec, Path(), classes))
    train_k, test_k = _by_class(labels_n, classes), _by_class(tested_n, classes)
    sizes = ((height, width),)
    findings = _of_classes(names, train_k, test_k)
    return Survey(path, {"name": "npz"}, names, train_k, test_k, sizes, channels[0] if channels else 1, tuple(findings))


def _survey_files(path: Path, name: str) -> Survey:
    keys: dict[str, Any] = {"name": name}
    try:
        list_images(_spec(path, keys), Path(), "train")
    except SpecError as error:
        if error.path != "data.splits.test":
            raise
        keys["splits"] = {"test": TEST_SHARE}  # no images are set aside for testing
    spec = _spec(path, keys)
    sets = {"train": load_train(spec, Path()), "test": load_test(spec, Path())}
    listings = {part: list_images(spec, Path(), part) for part in ("train", "test")}
    names = listings["train"].class_names
    train_k, test_k = (_by_class(images.labels, len(names)) for images in sets.values())
    findings = [*listings["train"].notes]
    if left_out := left_out_text(listings["train"].left_out):
        findings.append(f"not all files are read as images{left_out}")
    sizes: list[tuple[int, int]] = []
    modes: Counter[str] = Counter()
    faults = []
    for part, images in sets.items():
        files = listings[part].files
        step = -(-len(files) // EXAMINED)
        for index in range(0, len(files), step):
            try:
                images.pixels([index])
                size, mode = _header(files[index])
            except UserError as error:
                faults.append(str(error))
                continue
            sizes.append(size)
            modes[mode] += 1
    if not sizes:
        raise UserError(f"{path}: must hold images that can be read, but got: {faults[0]}")
    if faults:
        keys["unreadable"] = "leave_out"
        findings.append(f"{len(faults)} of {len(faults) + len(sizes):,} images can't be read; the first: {faults[0]}")
    grey = sum(count for mode, count in modes.items() if mode in GREY_MODES)
    if 0 < grey < modes.total():
        findings.append(f"{grey:,} images are grey and {modes.total() - grey:,} in colour; all are read as RGB")
    if alpha := sum(count for mode, count in modes.items() if mode in ("RGBA", "LA", "PA", "La", "RGBa")):
        findings.append(f"{alpha:,} images have an alpha channel")
    findings += _of_sizes(sizes) + _of_classes(names, train_k, test_k)
    channels = 1 if grey == modes.total() else 3
    return Survey(path, keys, names, train_k, test_k, tuple(sizes), channels, tuple(findings))


def _spec(path: Path, keys: dict[str, Any]) -> DataSpec:
    """The `data` of a spec that reads small images, which is fast."""
    return parse_spec(DataSpec, keys | {"path": str(path.absolute()), "resolution": 8}, None, "data")


def _header(file: str) -> tuple[tuple[int, int], str]:
    """Height and width of an image that can be read, and its mode."""
    from PIL import Image

    with Image.open(file) as image:
        return (image.height, image.width), image.mode


def _by_class(labels_n: Any, classes: int) -> tuple[int, ...]:
    counts = Counter(labels_n.tolist())
    return tuple(counts[label] for label in range(classes))


def _of_sizes(sizes: Sequence[tuple[int, int]]) -> list[str]:
    shorter = [min(size) for size in sizes]
    found = []
    if max(shorter) >= 4 * min(shorter):
        found.append(
            f"shorter sides are {min(shorter):,} to {max(shorter):,} pixels; all images are brought to one size"
        )
    if oblong := sum(max(size) >= 1.5 * min(size) for size in sizes):
        found.append(f"{oblong:,} of {len(sizes):,} images are 1.5 times as long as wide, or more: the middle is read")
    return found


def _of_classes(names: Sequence[str], train_k: Sequence[int], test_k: Sequence[int]) -> list[str]:
    found = []
    small = [f"{name} ({count:,})" for name, count in zip(names, train_k, strict=True) if count < SMALL_CLASS]
    if small:
        found.append(f"classes with fewer than {SMALL_CLASS} training images: {_some(small)}")
    if max(train_k) >= UNBALANCED * max(1, min(train_k)):
        found.append(f"classes are unbalanced: {min(train_k):,} to {max(train_k):,} training images")
    if untested := [name for name, count in zip(names, test_k, strict=True) if not count]:
        found.append(f"classes without test images: {_some(untested)}")
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
