"""Work on parts of batches in worker processes ahead of their use; results come in the order of the jobs."""

import shutil
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aebnas.core.errors import UserError
from aebnas.data.data_spec import Loaders

PART = 64
"""Images that a process reads at a time: of a batch that several read together, the first one soon has all."""
AHEAD = 2
"""Parts for which each process is ahead of their use."""
MOST_LOADERS = 16
"""Upper limit of the number chosen automatically."""
SHARED_MEMORY = Path("/dev/shm")
"""Through which processes on Linux hand over pixels; in containers it is often small (64 MB)."""
USABLE_SHARE = 0.5
"""Of what is free of the shared memory."""

Job = TypeVar("Job")
_Read = tuple[Tensor, Tensor]


def number_of(loaders: Loaders, parts: int, part_bytes: int, ahead: int = 0) -> int:
    """The number of processes that read `parts` (of `PART` images): for `auto` as many as this process has threads.

    At least `ahead` parts wait for their use. Where they don't fit into shared memory, `auto` is 0, with a note.
    """
    if loaders != "auto":
        return loaders
    count = min(torch.get_num_threads(), parts, MOST_LOADERS)
    needed = max(ahead, AHEAD * count) * part_bytes
    if SHARED_MEMORY.is_dir() and needed > (room := USABLE_SHARE * shutil.disk_usage(SHARED_MEMORY).free):
        print(
            f"note: {SHARED_MEMORY} has room for {room / 1e6:.0f} of the {needed / 1e6:.0f} MB that processes would "
            "read ahead, so images are read in the training process (in Docker, --shm-size gives more room)",
            file=sys.stderr,
        )
        return 0
    return count


def read_all(work: Callable[[Tensor], Tensor], images: int, loaders: Loaders, image_bytes: int) -> Iterator[_Read]:
    """`work` on all indices below `images`, in parts: the indices of each part, and the result."""
    parts = torch.arange(images).split(PART)
    count = number_of(loaders, len(parts) if len(parts) > 1 else 0, PART * image_bytes)
    yield from zip(parts, Workers(work, count).map(parts), strict=True)


class Workers(Generic[Job]):
    """Applies `work` to jobs: in this process (`count` 0), or in `count` processes that live as long as this object.

    Each process is up to `ahead` jobs ahead of their use. With `pinned` results are in memory that a GPU reads without
    the CPU. `work` and jobs must be picklable. A UserError in a worker process is raised here unchanged.
    """

    def __init__(self, work: Callable[[Job], Tensor], count: int, ahead: int = AHEAD, pinned: bool = False) -> None:
        self._work, self.count, self._ahead, self._pinned = work, count, ahead, pinned
        self._jobs = _Jobs[Job]()
        self._loader: list[DataLoader[Tensor | UserError]] = []
        # Freed by the garbage collector, a loader waits seconds for each of its processes and its threads print errors.
        # What finalize references is in no cycle.
        weakref.finalize(self, self._loader.clear)

    def map(self, jobs: Iterable[Job]) -> Iterator[Tensor]:
        """Results in the order of `jobs`."""
        if not self.count:
            yield from map(self._work, jobs)
            return
        if not self._loader:
            self._loader.append(self._start())
        self._jobs.jobs = jobs
        with _no_advice():
            results = iter(self._loader[0])
        self._jobs.jobs = ()
        try:
            for result in results:
                if isinstance(result, UserError):
                    raise result
                yield result
        except BaseException:  # GeneratorExit, too: processes with unfinished work aren't used again
            del results
            self._loader.clear()
            raise

    def _start(self) -> DataLoader[Tensor | UserError]:
        """torch's loader, which passes jobs of any kind from its "sampler" to its "data set" in the processes."""
        with _no_advice():
            return DataLoader(
                _JobResults(self._work),
                batch_size=None,
                sampler=self._jobs,
                num_workers=self.count,
                prefetch_factor=self._ahead,
                pin_memory=self._pinned,
                persistent_workers=True,
                generator=torch.Generator(),  # or it would draw from torch's global one
            )


@contextmanager
def _no_advice() -> Iterator[None]:
    """No warning about more processes than cores: that may be intended, where reading is slower than decoding."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")
        yield


class _Jobs(Generic[Job]):
    def __init__(self) -> None:
        self.jobs: Iterable[Job] = ()

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)


class _JobResults(Dataset[Tensor | UserError], Generic[Job]):
    def __init__(self, work: Callable[[Job], Tensor]) -> None:
        self.work = work

    def __getitem__(self, job: Job) -> Tensor | UserError:
        try:
            return self.work(job)
        except UserError as error:  # the loader would wrap it in a traceback of many lines
            return error
