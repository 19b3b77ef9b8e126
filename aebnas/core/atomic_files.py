"""Files that are written whole or not at all."""

import errno
import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aebnas.core.errors import UserError

ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and give the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and give the same command again",
    errno.EFBIG: "it would exceed the limit on the size of a file; raise it and give the same command again",
    errno.EROFS: "the file system is read-only; make it writable or choose another folder",
    errno.EEXIST: "a file is where a folder must be; move it away or choose another folder",
    errno.ENOTDIR: "a file is where a folder must be; move it away or choose another folder",
    errno.EACCES: "permission denied; make the folder writable or choose another one",
}
"""Error number of a failed write -> the cause, and what the user can do about it."""

PARTIAL = ".*.partial*"
"""Pattern of the temporary files' names."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place.

    A kill at any moment leaves either the old file or the new one, never half of one. Raises UserError where
    `path` can't be written.
    """
    # a unique name, since another process may still be writing a partial file of the same target
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        with partial.open("rb+") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        _remove(partial)
        raise cannot_write(path, error) from error
    except BaseException:
        _remove(partial)
        raise


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes, whole or not at all."""
    write_atomically(path, lambda partial: partial.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error to raise where writing `path` failed: the file, the cause, and what can be done."""
    why = ADVICE.get(error.errno or 0) or error.strerror or str(error)
    return UserError(f"{path}: cannot be written: {why}")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a power failure doesn't undo a move into it."""
    with suppress(OSError):  # some network file systems don't support it
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_partials(folder: Path) -> None:
    """Delete unfinished files that killed processes left anywhere in a folder; no other process may write to it."""
    for path in folder.rglob(PARTIAL):
        if path.is_file():
            _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):  # where nothing can be written nothing can be removed; the first error is reported
        path.unlink(missing_ok=True)
