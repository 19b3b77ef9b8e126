"""Leaving out files that can't be read as images: damaged and empty ones, decompression bombs.

All files of a part are read once to find them, before splits are cut. What was found is kept in the cache folder of the
user by the files' paths, sizes and times, so a later session on the same files has the same images at once.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import PIL

from aebnas.core.atomic_files import write_json
from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.data.data_spec import Loaders
from aebnas.data.image_files.files import Files
from aebnas.data.image_files.files_found import TEST, TRAIN
from aebnas.data.image_files.listing import Listing, Part
from aebnas.data.loader_workers import read_all

UNREADABLE = {TRAIN: "training file(s) that can't be read as images", TEST: "test file(s) that can't be read as images"}
"""By part how `left_out` calls them."""


def without_unreadable(listing: Listing, part: Part, source: Files, loaders: Loaders) -> Listing:
    """The listing of a part without the images that `source`, which has its files, can't read; `loaders` processes try.

    `left_out` then counts them and names the first. Raises UserError where a file can't be opened, where no image is
    left, or none of a class of the training part.
    """
    places = set(_unreadable(listing, source, loaders))
    if not places:
        return listing
    kept = [place for place in range(len(listing.paths)) if place not in places]
    labels = tuple(listing.labels[place] for place in kept)
    lost = sorted(set(listing.labels) - set(labels))
    if lost and (part == TRAIN or not kept):
        name, count = listing.class_names[lost[0]], listing.labels.count(lost[0])
        rule = f"must have an image of '{name}' that can be read, but got none of {count}"
        raise UserError(f"{listing.root}: {rule} (data.unreadable: refuse says what is wrong with them)")
    first = UserError(listing.paths[min(places)])  # as text it is printable
    return replace(
        listing,
        paths=tuple(listing.paths[place] for place in kept),
        labels=labels,
        left_out={**listing.left_out, f"{UNREADABLE[part]} (the first is {first})": len(places)},
    )


def _unreadable(listing: Listing, source: Files, loaders: Loaders) -> list[int]:
    """Places of the files that can't be read."""
    kept = _cache_folder() / "unreadable" / f"{_digest(listing, source)}.json"
    with suppress(OSError, ValueError):
        known = json.loads(kept.read_text(encoding="utf-8"))
        if isinstance(known, list) and all(type(place) is int and 0 <= place < len(source) for place in known):
            return known
    found = _read_all(source, loaders)
    with suppress(OSError, UserError):  # a cache that can't be written costs nothing but time
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, found)
    return found


def _read_all(source: Files, loaders: Loaders) -> list[int]:
    found: list[int] = []
    with progress_bar("verifying images", len(source)) as bar:
        for part, readable in read_all(source.readable, len(source), loaders, image_bytes=1):
            found += part[~readable].tolist()
            bar.advance(len(part))
    return found


def _digest(listing: Listing, source: Files) -> str:
    """Of what decides which files can be read: the files, how they are read, and what by."""
    folder = os.fsencode(listing.root.resolve())
    digest = hashlib.sha256(repr((folder, replace(source, paths=()), PIL.__version__)).encode())
    for path, file in zip(listing.paths, source.paths, strict=True):
        try:
            about = Path(file).stat()
        except OSError:
            continue  # reported when it is opened
        digest.update(f"{os.fsencode(path)!r} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _cache_folder() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "aebnas"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "aebnas"
