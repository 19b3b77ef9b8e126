"""A look at a set of own images: how many of each class, their sizes and channels, and what is odd about them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, cast

from aebnas.core.errors import SpecError, UserError
from aebnas.core.progress import progress_bar
from aebnas.core.spec_base import parse_spec
from aebnas.data.arrays.array_file import read_test_labels, read_train_shape
from aebnas.data.class_names import named_classes
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train
from aebnas.data.image_files.files import LEAVE_OUT
from aebnas.data.image_files.folder_walk import left_out_text
from aebnas.data.image_files.listing import Part, list_images

EXAMINED = 2000
"""Files of a part that are opened, evenly spaced; more would take minutes."""
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
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
    def common_size(self) -> tuple[int, int] | None:
        """The (height, width) that all images that were opened have; None where they differ."""
        return self.sizes[0] if len(set(self.sizes)) == 1 else None

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
    tested_n = read_test_labels(path)
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
    opened = _open_files(path, keys)
    if not opened.sizes:
        raise UserError(f"{path}: must hold images that can be read, but got: {opened.faults[0]}")
    if opened.faults:
        keys["unreadable"] = "leave_out"
    spec = _spec(path, keys)
    listing = list_images(spec, Path(), "train")
    names = listing.class_names
    # without images that can't be read
    train_k, test_k = (_by_class(load(spec, Path()).labels, len(names)) for load in (load_train, load_test))
    findings = [*listing.notes]
    if left_out := left_out_text(listing.left_out):
        findings.append(f"not all files are read as images{left_out}")
    findings += opened.findings() + _of_classes(names, train_k, test_k)
    channels = 1 if opened.grey == opened.modes.total() else 3
    return Survey(path, keys, names, train_k, test_k, tuple(opened.sizes), channels, tuple(findings))


@dataclass
class _Opened:
    """Some image files: sizes (height, width) and modes of those that can be read, and what is wrong with others."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def grey(self) -> int:
        """The number of grey images."""
        return sum(count for mode, count in self.modes.items() if mode in GREY_MODES)

    def findings(self) -> list[str]:
        """What is odd about them."""
        found, count = [], len(self.sizes)
        if self.faults:
            of = f"{len(self.faults):,} of {len(self.faults) + count:,} images"
            found.append(f"{of} can't be read and are left out; the first: {self.faults[0]}")
        if 0 < self.grey < count:
            found.append(f"{self.grey:,} images are grey and {count - self.grey:,} in colour; all are read as RGB")
        if alpha := sum(number for mode, number in self.modes.items() if mode in ALPHA_MODES):
            found.append(f"{alpha:,} images have an alpha channel")
        shorter = [min(size) for size in self.sizes]
        if max(shorter) >= 4 * min(shorter):
            found.append(f"shorter sides are {min(shorter):,} to {max(shorter):,} pixels; all are brought to one size")
        oblong = sum(max(size) >= 1.5 * min(size) for size in self.sizes)
        if oblong and len(set(self.sizes)) > 1:
            found.append(f"{oblong:,} of {count:,} images are 1.5 times as long as wide, or more: the middle is read")
        return found


def _open_files(path: Path, keys: dict[str, Any]) -> _Opened:
    """Read some of the training and test images, as a search does."""
    spec, opened = _spec(path, keys), _Opened()
    for part, load in (("train", load_train), ("test", load_test)):
        images, files = load(spec, Path()), list_images(spec, Path(), cast(Part, part)).files
        examined = range(0, len(files), -(-len(files) // EXAMINED))
        with progress_bar(f"looking at {part} images", len(examined)) as bar:
            for index in examined:
                try:
                    images.pixels([index])
                    size, mode = _header(files[index])
                    opened.sizes.append(size)
                    opened.modes[mode] += 1
                except UserError as error:
                    opened.faults.append(str(error).removesuffix(f" ({LEAVE_OUT})"))
                bar.advance(1)
    return opened


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


def _of_classes(names: Sequence[str], train_k: Sequence[int], test_k: Sequence[int]) -> list[str]:
    found = []
    small = [f"{name} ({count:,})" for name, count in zip(names, train_k, strict=True) if count < SMALL_CLASS]
    if small:
        found.append(f"classes with fewer than {SMALL_CLASS} training images: {_some(small)}")
    if max(train_k) >= UNBALANCED * max(1, min(train_k)):
        found.append(
            f"classes are unbalanced: {min(train_k):,} to {max(train_k):,} training images "
            "(classes: {weights: balanced} in the spec makes rare ones count as much)"
        )
    if untested := [name for name, count in zip(names, test_k, strict=True) if not count]:
        found.append(f"classes without test images: {_some(untested)}")
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
