"""Fingerprints of image sets: what results rest on, and how it differs from what lies there today.

Images in files are identified by names, sizes, times and labels, which costs no reading; by their contents on demand.
Images in memory are identified by their pixels and labels.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import torch

from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.data.image_set import ImageSet

DIGEST_BYTES = 16
READ_BATCH = 1000
READERS = 8
"""Threads that read files: hashing and waiting for a disk both leave Python to others."""


@dataclass(frozen=True)
class FileFacts:
    """An image file: size in bytes, time of the last change in ns, label, digest of its content ("" if not read)."""

    size: int
    time_ns: int
    label: int
    content: str = ""


FileTable = Mapping[str, FileFacts]
"""Facts by name: the path relative to the folder of the data, with forward slashes."""


def file_table(images: ImageSet, root: Path) -> FileTable | None:
    """The files of images below `root`, in their order; None for images in memory only.

    Raises UserError for a file that is gone.
    """
    paths = images.source.paths
    if paths is None:
        return None
    start, table = f"{root}{os.sep}", {}
    for path, label in zip(paths, images.labels.tolist(), strict=True):
        try:
            about = os.stat(path)  # noqa: PTH116 - a Path for each of a million files takes seconds
        except OSError as error:
            raise UserError(f"{path}: must be a readable image, but got {type(error).__name__}") from None
        name = path.removeprefix(start).replace(os.sep, "/")
        table[name] = FileFacts(about.st_size, about.st_mtime_ns, label)
    return table


def with_contents(table: FileTable, root: Path, names: Sequence[str] | None = None) -> FileTable:
    """The table with digests of the contents of the files `names` (of all, if None); raises UserError as `file_table`.

    Every file is read once.
    """
    names = list(table) if names is None else names
    with progress_bar("reading contents", len(names)) as bar, ThreadPoolExecutor(READERS) as readers:
        found = {}
        for name, content in zip(names, readers.map(_content, [root / name for name in names]), strict=True):
            found[name] = replace(table[name], content=content)
            bar.advance()
    return {**table, **found}


def fingerprint(images: ImageSet, table: FileTable | None) -> str:
    """A digest of 32 hexadecimal digits: of all that a table holds of files, or of pixels and labels where it is None.

    The order of the images counts.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    if table is not None:
        for name, facts in table.items():
            line = f"{name}\0{facts.size}\0{facts.time_ns}\0{facts.label}\0{facts.content}\n"
            digest.update(line.encode(errors="surrogateescape"))  # names of files may be any bytes
        return digest.hexdigest()
    digest.update(repr((images.shape, len(images), images.classes)).encode())
    for part in torch.arange(len(images)).split(READ_BATCH):
        digest.update(images.pixels(part).cpu().contiguous().numpy().data)
    digest.update(images.labels.cpu().contiguous().numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Changes:
    """The names of files that differ between two tables, by the way in which they differ."""

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    """Of another content, where both tables hold contents."""
    touched: tuple[str, ...] = ()
    """Of another time, where nothing else is known to differ."""

    def __bool__(self) -> bool:
        return any((*self.certain, self.touched))

    @property
    def certain(self) -> tuple[tuple[str, ...], ...]:
        """All but `touched`."""
        return self.new, self.gone, self.resized, self.relabelled, self.rewritten

    def __str__(self) -> str:
        ways = ("new", "gone", "of another size", "of another class", "of other content", "of another time")
        groups = zip(ways, (*self.certain, self.touched), strict=True)
        return ", ".join(f"{len(names):,} {way} ({names[0]})" for way, names in groups if names)


def changes(old: FileTable, new: FileTable) -> Changes:
    """What differs between two tables. A time counts only where not both contents are known."""
    resized, relabelled, rewritten, touched = [], [], [], []
    for name in old.keys() & new.keys():
        before, now = old[name], new[name]
        known = before.content and now.content
        if before.size != now.size:
            resized.append(name)
        elif before.label != now.label:
            relabelled.append(name)
        elif known and before.content != now.content:
            rewritten.append(name)
        elif not known and before.time_ns != now.time_ns:
            touched.append(name)
    groups = (new.keys() - old.keys(), old.keys() - new.keys(), resized, relabelled, rewritten, touched)
    return Changes(*(tuple(sorted(names)) for names in groups))


def renamed_classes(old: Sequence[str], new: Sequence[str]) -> str:
    """How the names of classes differ, in words; "" where they don't."""
    if list(old) == list(new):
        return ""
    gone, added = [name for name in old if name not in new], [name for name in new if name not in old]
    if not gone and not added:
        number, (was, now) = next((n, pair) for n, pair in enumerate(zip_longest(old, new)) if pair[0] != pair[1])
        return f"class {number} is '{now}' instead of '{was}'"
    return " and ".join(_named(names, what) for names, what in ((gone, "missing"), (added, "new")) if names)


def _named(names: Sequence[str], what: str) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"'{names[0]}'{more} {'is' if len(names) == 1 else 'are'} {what}"


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: must be a readable image, but got {type(error).__name__}") from None


def rows(table: FileTable) -> Iterator[tuple[str, int, int, int, str]]:
    """The table as rows of name, size, time, label, content."""
    for name, facts in table.items():
        yield name, facts.size, facts.time_ns, facts.label, facts.content
