"""Work on batches in worker processes ahead of their use; results come in the order of the jobs."""

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aebnas.core.errors import UserError

Job = TypeVar("Job")


class Workers(Generic[Job]):
    """Applies `work` to jobs: in this process (`count` 0), or in `count` processes that live as long as this object.

    `work` and jobs must be picklable. A UserError in a worker process is raised here unchanged.
    """

    def __init__(self, work: Callable[[Job], Tensor], count: int) -> None:
        self._work, self._count = work, count
        self._jobs = _Jobs[Job]()
        self._loader: list[DataLoader[Tensor | UserError]] = []
        # Freed by the garbage collector, a loader waits seconds for each of its processes and its threads print errors.
        # What finalize references is in no cycle.
        weakref.finalize(self, self._loader.clear)

    def map(self, jobs: Iterable[Job]) -> Iterator[Tensor]:
        """Results in the order of `jobs`."""
        if not self._count:
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
                num_workers=self._count,
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
