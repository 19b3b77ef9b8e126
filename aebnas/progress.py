"""Progress bars with an ETA: a live bar in a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LOG_EVERY_S = 15.0


class Counter(Protocol):
    """What a long phase tells of its steps."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more."""
        ...


class Bar:
    """Counts steps of one long phase; made by `progress_bar`."""

    def __init__(self, label: str, total: int, done: int, live: Progress | None) -> None:
        self.label, self.total, self.done, self.first = label, total, done, done
        self.live = live
        self.task = live.add_task(label, total=total, completed=done, note="") if live else None
        self.started = self.last_line = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more; `note` is shown beside the bar (a loss, a front's size)."""
        self.done += steps
        if self.live is not None and self.task is not None:
            self.live.update(self.task, advance=steps, note=note)
            return
        now = time.monotonic()
        if now - self.last_line >= LOG_EVERY_S or self.done >= self.total:
            self.last_line = now
            rate = (self.done - self.first) / max(now - self.started, 1e-9)
            eta_s = (self.total - self.done) / max(rate, 1e-9)
            print(
                f"{self.label}: {self.done}/{self.total}, ETA {eta_s:.0f} s {note}",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def progress_bar(label: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Show a bar for `total` steps of which `done` were already there (a resumed run)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Bar(label, total, done, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as live:
        yield Bar(label, total, done, live)


class _Silent:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


@contextmanager
def no_bar(label: str, total: int, done: int = 0) -> Iterator[Counter]:
    """In the place of `progress_bar`, shows nothing."""
    yield _Silent()
