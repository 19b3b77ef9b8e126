"""A lock for objects that are copied and pickled."""

from __future__ import annotations

import threading


class FreshLock:
    """A lock of which every copy, pickled or not, is a new and open one; held by `with`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[FreshLock], tuple[()]]:
        return FreshLock, ()
