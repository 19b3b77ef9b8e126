"""What lies in an image folder: classes and image files, each real path once. Imports no torch and reads no image.

A symbolic link is followed where it leads to another place of the folder than the parts (`train`, `test`), such as
`images/007.jpg`; one that leads back to these is left out, since what it leads to is read where it lies. Links that
lead outside the folder are followed only with `data.follow_links: true`. Hidden entries are never data: names that
begin with a dot, and `SYSTEM_ENTRIES`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from aebnas.core.errors import UserError, check_utf8

SYSTEM_ENTRIES = frozenset({"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"})
"""What archives, network storage and operating systems leave in folders, in lower case."""

HIDDEN = "hidden"
READ_ANYWAY = "symbolic link(s) to what is read anyway"
LEADS_OUTSIDE = "symbolic link(s) that lead outside (data.follow_links: true follows them)"
LEADS_NOWHERE = "symbolic link(s) that lead nowhere"
NO_FILE = "neither a file nor a folder"
BESIDE_CLASSES = "file(s) beside the folders of classes"
NO_IMAGE = "file(s) that are not of an image format"
LONGEST_EXTENSION = 12
MOST_REASONS = 6
"""In a line for people; the protocol has all."""


class FolderWalk:
    """Walks over the `parts` of an image folder, which may itself be a link.

    A part is a folder that holds the folders of classes; an empty name is the image folder itself. `left_out` counts
    entries that were met and not read, by reason; a folder that was left out is one entry.
    """

    def __init__(self, root: Path, follow_links: bool, parts: Sequence[str]) -> None:
        self.root, self.follow_links = root, follow_links
        self.left_out: Counter[str] = Counter()
        self._real_root = str(root.resolve())
        self._real_parts = {part: str((root / part).resolve()) for part in parts}
        self._linked: dict[str, tuple[str, str]] = {}  # files that links led to: the class, and the path there

    def classes(self, part: str) -> list[str]:
        """Sorted names of the class folders of a part; raises UserError where there are none, where one lies outside
        the folder and links aren't followed, or where a name isn't UTF-8, as the files of a run and an export are.
        """
        folder = self.root / part
        self._check_part(folder)
        names = []
        for entry in self._visible(folder):
            if entry.is_symlink():
                target, why = self._target(entry.path)
                if target is None or not is_so(Path.is_dir, target):
                    self.left_out[why if target is None else BESIDE_CLASSES] += 1
                    continue
                self._check_inside(entry.path, target)
            elif not entry.is_dir(follow_symlinks=False):
                self.left_out[BESIDE_CLASSES] += 1
                continue
            check_utf8(entry.name, f"{folder}: a class")
            names.append(entry.name)
        if not names:
            raise UserError(f"{folder}: must hold one subfolder of images per class, but got none")
        return sorted(names)

    def images(self, part: str, name: str, extensions: tuple[str, ...]) -> list[str]:
        """Sorted paths of the images of a class, at any depth; `extensions` in lower case are those of images.

        Raises UserError for a folder that can't be read, and for an image that links put under two classes or in two
        parts.
        """
        top = self.root / part / name
        found = []
        walked: set[str] = set()
        waiting: list[tuple[str, str | None]] = [(str(top), str(top.resolve()) if top.is_symlink() else None)]
        while waiting:
            folder, real = waiting.pop()  # the real path is known below links alone
            if real is not None:
                if real in walked:
                    self.left_out[READ_ANYWAY] += 1
                    continue
                walked.add(real)
            for entry in self._visible(folder):
                if entry.is_symlink():
                    target, why = self._target(entry.path)
                    if target is not None and not self._may_follow(target):
                        target, why = None, LEADS_OUTSIDE
                    if target is None:
                        self.left_out[why] += 1
                        continue
                    is_dir, is_file = is_so(Path.is_dir, target), is_so(Path.is_file, target)
                else:
                    target = None if real is None else f"{real}{os.sep}{entry.name}"
                    is_dir, is_file = entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)
                if is_dir:
                    waiting.append((entry.path, target))
                elif not is_file:  # a pipe or a device, which could be read for ever
                    self.left_out[NO_FILE] += 1
                elif not entry.name.lower().endswith(extensions):
                    self.left_out[f"{NO_IMAGE} ({_extension(entry.name)})"] += 1
                elif self._is_new(entry.path, target, f"{part}/{name}"):
                    found.append(entry.path)
        return sorted(found)

    def _visible(self, folder: str | Path) -> Iterator[os.DirEntry[str]]:
        """The entries of a folder but hidden ones; raises UserError where it can't be read."""
        for entry in _entries(folder):
            if _hidden(entry.name):
                self.left_out[HIDDEN] += 1
            else:
                yield entry

    def _target(self, link: str) -> tuple[str | None, str]:
        """The real path that a link leads to; or None and why it is left out, whether or not links are followed."""
        if not is_so(Path.exists, link):
            return None, LEADS_NOWHERE
        target = str(Path(link).resolve())
        if any(_within(target, part) or _within(part, target) for part in self._real_parts.values()):
            return None, READ_ANYWAY
        return target, ""

    def _may_follow(self, target: str) -> bool:
        return self.follow_links or _within(target, self._real_root)

    def _check_inside(self, link: str, target: str) -> None:
        if not self._may_follow(target):
            rule = f"must lie in {self.root} unless data.follow_links is true"
            raise UserError(f"{link}: {rule}, but got a symbolic link to {target}")

    def _check_part(self, folder: Path) -> None:
        """A part may be a link, but not to the other part, nor to what holds it."""
        self._check_inside(str(folder), str(folder.resolve()))
        for (one, real), (other, other_real) in combinations(self._real_parts.items(), 2):
            if _within(real, other_real) or _within(other_real, real):
                rule = f"must lie apart from {self.root / other}"
                raise UserError(f"{self.root / one}: {rule}, but got symbolic links to {real} and {other_real}")

    def _is_new(self, path: str, real: str | None, where: str) -> bool:
        """Whether an image that links led to (`real`) hasn't been met in this class; UserError if it has in another."""
        if real is None:
            return True
        known_where, known_path = self._linked.setdefault(real, (where, path))
        if known_where != where:
            raise UserError(f"{path}: must be an image of one class and part, but {known_path} leads to it, too")
        if known_path != path:
            self.left_out[READ_ANYWAY] += 1
        return known_path == path


def visible_folders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder, links to folders included, but hidden ones; UserError where it can't be
    read.
    """
    visible = [entry for entry in _entries(folder) if not _hidden(entry.name)]
    return sorted(entry.name for entry in visible if is_so(Path.is_dir, entry.path))


def is_so(check: Callable[[Path], bool], path: str | Path) -> bool:
    """The result of a check of a path, such as `Path.is_dir`; false where the path may not be looked at."""
    try:
        return check(Path(path))
    except OSError:
        return False


def left_out_text(left_out: Mapping[str, int]) -> str:
    """The counts in words, the greatest first, such as ` (left out: 3 hidden entries)`; empty where there are none."""
    counts = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{count:,} {reason}" for reason, count in counts[:MOST_REASONS]]
    if more := sum(count for _, count in counts[MOST_REASONS:]):
        texts.append(f"{more:,} more, of {len(counts) - MOST_REASONS} kinds")
    return f" (left out: {'; '.join(texts)})" if texts else ""


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise UserError(f"{folder}: must be a folder that can be read, but got {type(error).__name__}") from None


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_ENTRIES


def _extension(name: str) -> str:
    """The extension of a file for a person: short and printable, whatever the file is called."""
    end = Path(name).suffix.lower()
    return end if 1 < len(end) <= LONGEST_EXTENSION and end.isprintable() else "no known extension"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
