"""Progress bars with an ETA: a live bar in a terminal, a line every few seconds in a log file.

A bar inside another's phase (a candidate's training within a search) is shown below it and removed when it is done.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LOG_EVERY_S = 15.0


class Counter(Protocol):
    """Counts the steps of a long phase."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more."""
        ...


MakeBar = Callable[[str, int, int], AbstractContextManager[Counter]]
"""`progress_bar` or `no_bar`: a bar from label, steps and steps already done."""


class Bar:
    """Counts steps of one long phase; made by `progress_bar`."""

    def __init__(
        self, label: str, total: int, done: int, live: Progress | None, inner: bool, clock: Callable[[], float]
    ) -> None:
        self.label, self.total, self.done, self.first = label, total, done, done
        self.live, self.inner, self.clock = live, inner, clock
        self.task = live.add_task(label, total=total, completed=done, note="") if live else None
        self.started = self.last_line = clock()

    def advance(self, steps: int = 1, note: str = "", earlier: bool = False) -> None:
        """Count `steps` more; `note` is shown below the bar (a loss, a front's size).

        Steps of an `earlier` session, reported again, are ignored in the speed of a log file's ETA.
        """
        self.done += steps
        self.first += steps if earlier else 0
        if self.live is not None and self.task is not None:
            self.live.update(self.task, advance=steps, note=note)
            return
        now = self.clock()
        # a short phase inside another prints no line
        if now - self.last_line >= LOG_EVERY_S or (self.done >= self.total and not self.inner):
            self.last_line = now
            rate = (self.done - self.first) / max(now - self.started, 1e-9)
            eta_s = (self.total - self.done) / max(rate, 1e-9)
            eta = f", ETA {eta_s:.0f} s" if rate or not eta_s else ""
            print(
                f"{self.label}: {self.done}/{self.total}{eta} {note}",
                file=sys.stderr,
                flush=True,
            )


class _Bars(Progress):
    """Bars, and below them their notes, which are longer than the room in a bar's line."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """See rich."""
        yield self.make_tasks_table(self.tasks)
        yield from (Text(task.fields["note"], overflow="fold") for task in self.tasks if task.fields["note"])


_outer: list[_Bars | None] = []
"""The displays of the enclosing bars, the outermost first; None in a log file."""


@contextmanager
def progress_bar(
    label: str,
    total: int,
    done: int = 0,
    *,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Bar]:
    """Show a bar for `total` steps of which `done` were done before (a resumed run).

    It is shown on `console` (standard error by default) where that is a terminal; else lines are printed on standard
    error, at intervals measured by `clock`, in seconds.
    """
    with _shown_in(console or Console(stderr=True)) as live:
        bar = Bar(label, total, done, live, bool(_outer), clock)
        _outer.append(live)
        try:
            yield bar
        finally:
            _outer.pop()
            if live is not None and bar.task is not None and bar.inner:
                live.remove_task(bar.task)


@contextmanager
def _shown_in(console: Console) -> Iterator[_Bars | None]:
    if _outer or not console.is_terminal:
        yield _outer[-1] if _outer else None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with _Bars(*columns, console=console) as live:
        yield live


class _Silent:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


@contextmanager
def no_bar(label: str, total: int, done: int = 0) -> Iterator[Counter]:
    """Takes the place of `progress_bar` and shows nothing."""
    yield _Silent()
