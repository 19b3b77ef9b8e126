"""How a folder of images is laid out, and the images in it. Imports no torch and reads no image.

Three layouts: `train/<class>/*` beside `test/<class>/*` (`val`, `valid` or `validation` where there is no `test`);
`train/<class>/*` alone; `<class>/*`. In the last two a share of the images becomes the test set. In the first, `val`
may be as in Tiny-ImageNet, whose `test` has no labels (see `annotated_part`).
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from aebnas.core.errors import UserError
from aebnas.data.image_files.annotated_part import annotated_images, is_annotated, is_unsorted
from aebnas.data.image_files.files_found import TEST, TRAIN, VALIDATION, FilesFound, check_test_share, some
from aebnas.data.image_files.folder_walk import FolderWalk, is_so, left_out_text, visible_folders

NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats of which Pillow itself reads only the header."""
LIKE_A_PART = re.compile(r"(train|test|val|valid|validation)(ing)?([ _-]?(set|data|images?|split))?", re.IGNORECASE)
"""Names of folders that are parts rather than classes, if they hold folders themselves."""


@dataclass(frozen=True)
class FolderLayout:
    """Folders of the training and test part below `root`: `train` is empty where the classes lie in `root` itself,
    `test` is None where a share of the training images becomes the test set. `notes` say what isn't plain about it.
    """

    root: Path
    train: str
    test: str | None
    notes: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders that hold folders of classes."""
        return (self.train,) if self.test is None else (self.train, self.test)

    def walk(self, follow_links: bool) -> FolderWalk:
        """A walk over the parts."""
        return FolderWalk(self.root, follow_links, self.parts)


def folder_layout(root: Path, test_share: int | float) -> FolderLayout:
    """The layout of a folder; `test_share` is `data.splits.test`.

    Raises UserError where it has none of the layouts, SpecError where `test_share` is missing or one too many.
    """
    if not is_so(Path.is_dir, root):
        rule = "must be a folder that holds train and test, or one subfolder of images per class"
        got = "a file" if is_so(Path.exists, root) else "no such folder"
        raise UserError(f"{root}: {rule}, but got {got}")
    folders = visible_folders(root)
    known = {part: _spelt(root, part, folders) for part in (TRAIN, TEST, *VALIDATION)}
    train, test = known[TRAIN], known[TEST]
    validation = [folder for part in VALIDATION if (folder := known[part]) is not None]
    others = [folder for folder in folders if folder not in known.values()]
    if train is not None and not (test or validation) and others and not visible_folders(root / train):
        train = None  # a class: of vehicles, say
    if train is None:
        if held_out := [test, *validation] if test else validation:
            rule = f"must be a folder with one subfolder of images per class beside {held_out[0]}"
            raise UserError(f"{root / TRAIN}: {rule}, but got no such folder")
        for folder in folders:
            if LIKE_A_PART.fullmatch(folder) and visible_folders(root / folder):
                rule = "must be a class, but holds folders: parts are called train and test (or val)"
                raise UserError(f"{root / folder}: {rule}")
        check_test_share(test_share, False, f"there is no folder {TRAIN}")
        return FolderLayout(root, "", None, ())
    notes = []
    if others:
        notes.append(f"classes are the folders in {train}, not those beside it ({some(others)})")
    if test is not None and validation and is_unsorted(root / test, visible_folders(root / train)):
        test = None
    elif test is not None:
        notes += [f"{folder} is not read, since {test} is the test set" for folder in validation]
    if test is None and len(validation) > 1:
        rule = f"must be the only one, since it would be the test set, but got {', '.join(validation[1:])}, too"
        raise UserError(f"{root / validation[0]}: {rule}")
    if test is None and validation:
        test = validation[0]
        if known[TEST] is None:
            notes.append(f"{test} is the test set, since there is no folder {TEST}")
        else:
            notes.append(f"{test} is the test set, since {known[TEST]} has no folders of classes")
    if test is None:
        check_test_share(test_share, False, f"there is no folder {TEST} (or {VALIDATION[0]}) beside {train}")
    else:
        check_test_share(test_share, True, test)
    return FolderLayout(root, train, test, tuple(notes))


def folder_classes(root: Path, test_share: int | float, follow_links: bool) -> tuple[str, ...]:
    """Names of the classes: the folders of the training part, sorted; errors as in `list_folder`."""
    layout = folder_layout(root, test_share)
    return tuple(_classes(layout, layout.walk(follow_links)))


def list_folder(root: Path, test_share: int | float, follow_links: bool, train: bool) -> FilesFound:
    """The images of a folder, of its test part alone if `train` is false and it has one.

    Images may be at any depth below their class; see `FolderWalk` for symbolic links. Raises UserError for a class
    without images, or one of the test part that the training part hasn't; for the rest see `folder_layout` and
    `annotated_images`.
    """
    layout = folder_layout(root, test_share)
    walk = layout.walk(follow_links)
    classes = _classes(layout, walk)
    named: dict[str, list[tuple[str, str]]] = {}
    if train or layout.test is None:
        named[TRAIN] = _images_of(walk, layout.train, classes)
    if layout.test is not None:
        named[TEST] = _test_images(walk, layout, layout.test, classes)
    label = {name: number for number, name in enumerate(classes)}
    start = len(f"{root}{os.sep}") if root.name else len(str(root))
    images = {part: [(file[start:], label[name]) for file, name in found] for part, found in named.items()}
    return FilesFound(root, tuple(classes), images, walk.left_out, layout.notes)


def _test_images(walk: FolderWalk, layout: FolderLayout, test: str, classes: list[str]) -> list[tuple[str, str]]:
    if is_annotated(layout.root / test, classes):
        return annotated_images(walk, test, classes, image_extensions())
    names = walk.classes(test)
    unknown = [name for name in names if name not in classes]
    if unknown:
        place = layout.root / test / unknown[0]
        raise UserError(f"{place}: must be a class of {layout.root / layout.train}, but isn't")
    return _images_of(walk, test, names)


def _classes(layout: FolderLayout, walk: FolderWalk) -> list[str]:
    classes = walk.classes(layout.train)
    if len(classes) < 2:
        raise UserError(f"{layout.root / layout.train}: must hold at least 2 classes, but got only '{classes[0]}'")
    return classes


def _spelt(root: Path, part: str, folders: Sequence[str]) -> str | None:
    """The folder called `part`, however its letters are written; UserError for two."""
    found = [folder for folder in folders if folder.lower() == part]
    if len(found) > 1:
        raise UserError(f"{root / found[0]}: must be the only folder called {part}, but got {found[1]}, too")
    return found[0] if found else None


def _images_of(walk: FolderWalk, part: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Paths of the images of classes, with the names of these."""
    found = []
    for name in names:
        before = walk.left_out.copy()
        files = walk.images(part, name, image_extensions())
        if not files:
            left_out = left_out_text(walk.left_out - before)
            raise UserError(f"{walk.root / part / name}: must hold images (.jpg, .png, ...), but got none{left_out}")
        found += [(file, name) for file in files]
    return found


@cache
def image_extensions() -> tuple[str, ...]:
    """Extensions of the files that Pillow reads, in lower case and sorted."""
    known = Image.registered_extensions()
    return tuple(sorted(end for end, kind in known.items() if kind in Image.OPEN and kind not in NOT_DECODED))
