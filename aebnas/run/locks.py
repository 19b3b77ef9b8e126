"""Locks between the processes that work on one run, on every platform that `filelock` supports.

The operating system holds a lock on an open file (flock on Unix, LockFileEx on Windows), so a killed process leaves no
lock behind; the file itself is not deleted.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor, unlock_descriptor

from aebnas.core.atomic_files import cannot_write
from aebnas.core.errors import UserError

POLL_S = 0.01
PROBE_S = 0.1
"""Seconds to try for a lock before it counts as held: `is_locked` in another process holds it for far less."""


@contextmanager
def lock(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Hold the lock at `path`; where another process holds it, raise UserError(`refusal`) or, without one, wait.

    Also raises UserError if the file can't be written.
    """
    held = FileLock(path, timeout=-1 if refusal is None else PROBE_S, poll_interval=POLL_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout:
        raise UserError(refusal) from None
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    try:
        yield
    finally:
        held.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`; creates no file and needs no write permission.

    Tries a second time, since another process that tries holds the lock for an instant.
    """
    try:
        # an exclusive lock over NFS requires a file that is open for writing
        with path.open("rb+" if os.access(path, os.W_OK) else "rb") as handle:
            for attempt in range(2):
                time.sleep(attempt * POLL_S)
                if lock_descriptor(handle.fileno(), blocking=False):
                    unlock_descriptor(handle.fileno())
                    return False
    except OSError:  # the file doesn't exist, or the file system doesn't support locks
        return False
    return True
