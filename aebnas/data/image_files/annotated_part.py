"""A test part as Tiny-ImageNet has it: all images in one folder, their classes in a text file. Reads no image.

val/images/val_0.JPEG
val/val_annotations.txt    lines of a file's name and its class, separated by a tab; further columns are ignored
"""

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from aebnas.core.errors import UserError
from aebnas.core.spec_base import short
from aebnas.data.image_files.folder_walk import BESIDE_CLASSES, FolderWalk, is_so, visible_folders

ANNOTATIONS = "val_annotations.txt"
IMAGES = "images"
"""The only folder of such a part, and of a part without labels."""
NOT_NAMED = f"image(s) that {ANNOTATIONS} doesn't name"


def is_unsorted(part: Path, classes: Collection[str]) -> bool:
    """Whether the part's images lie in one folder `images`, which isn't a class, instead of folders of classes."""
    return IMAGES not in classes and visible_folders(part) == [IMAGES]


def is_annotated(part: Path, classes: Collection[str]) -> bool:
    """Whether the part is laid out as described above."""
    return is_so(Path.is_file, part / ANNOTATIONS) and is_unsorted(part, classes)


def annotated_images(
    walk: FolderWalk, part: str, classes: Collection[str], extensions: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Paths of the part's images, sorted, with the names of their classes; images without one are left out.

    Raises UserError for a line that isn't of this form, that names a class which isn't one of `classes`, or a file that
    isn't there or that another line names; for the rest see `FolderWalk.images`.
    """
    file = walk.root / part / ANNOTATIONS
    folder = walk.root / part / IMAGES
    walk.classes(part)  # checks where links lead
    walk.left_out -= Counter({BESIDE_CLASSES: 1})  # the annotations, which are read
    lines: dict[str, int] = {}
    class_of: dict[str, str] = {}
    for number, line in _lines(file):
        where = f"{file}, line {number}"
        name, *more = line.split("\t")
        if not more:
            raise UserError(f"{where}: must be a file's name and its class, separated by a tab, but got {short(line)}")
        if more[0] not in classes:
            raise UserError(f"{where}: must name a class of the training part, but got {short(more[0])}")
        if name in class_of:
            rule = f"must name an image that no other line names, but line {lines[name]} names it, too"
            raise UserError(f"{where}: {rule}: {short(name)}")
        lines[name], class_of[name] = number, more[0]
    found = []
    start = len(f"{folder}{os.sep}")
    for path in walk.images(part, IMAGES, extensions):
        if (own := class_of.pop(path[start:], None)) is None:
            walk.left_out[NOT_NAMED] += 1
        else:
            found.append((path, own))
    for name in class_of:
        rule = f"must name an image in {folder}, but got {short(name)}"
        raise UserError(f"{file}, line {lines[name]}: {rule}")
    if not found:
        raise UserError(f"{file}: must have a line for each image, but got none")
    return found


def _lines(file: Path) -> list[tuple[int, str]]:
    """The lines that aren't blank, numbered from 1."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: must be text in UTF-8, but got: {error.reason}") from None
    except OSError as error:
        raise UserError(f"{file}: must be a file that can be read, but got {type(error).__name__}") from None
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
