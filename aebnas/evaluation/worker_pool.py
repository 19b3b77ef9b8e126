"""Scoring architectures in this process, or by Ray actors in parallel, with the same results."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from aebnas.core.errors import UserError
from aebnas.core.notes import print_note
from aebnas.core.progress import progress_bar
from aebnas.core.ray_cluster import LOCAL, node_resources, ray_cluster, require_room
from aebnas.evaluation.darts.relaxed_training import Relaxation
from aebnas.evaluation.evaluator import Evaluator, RelaxedResult, Scored, Work
from aebnas.training.compute.compute_meter import ComputeMeter

MAX_LOSSES = 6
"""How many workers may be lost while they score an architecture before its trial fails.

Where workers are killed every few seconds, whatever they do, one in seven candidates may lose its worker: with two
attempts, 20 of 1,000 candidates would fail, with six none. A candidate that itself kills its worker costs six starts.
"""

MAX_MEMORY_LOSSES = 2
"""The same for workers that Ray ends since memory runs out, for which the candidate is a likely cause."""

MAX_LOST_STARTS = 20
"""How many workers may be lost in a row while they start."""


@dataclass(frozen=True)
class Failure:
    """The reason why an architecture could not be scored. A `transient` failure was caused by the machine (a lost
    worker, memory, a disk), not by the architecture, so a retry may succeed. `pflop` is the compute until then, without
    that of lost workers; None where it isn't known."""

    reason: str
    transient: bool = False
    pflop: float | None = 0.0


Outcome = Scored | RelaxedResult | Failure


class Pool(Protocol):
    """Scores architectures, trains relaxed networks, and yields `(index, outcome)` as they finish, in any order."""

    def score(self, work: Sequence[Work]) -> Iterator[tuple[int, Outcome]]:
        """Score all items of `work`; every index is yielded exactly once."""
        ...


@contextmanager
def open_pool(
    evaluator: Evaluator, workers: int, ray_address: str = LOCAL, gpus_per_worker: float = 0.0
) -> Iterator[Pool]:
    """This process (`workers` 0) or that many Ray actors; Ray is started and stopped around the pool.

    `ray_address` as in `ray_cluster.ray_cluster`. Raises its UserErrors, and UserError where the cluster has too few
    GPUs.
    """
    if workers == 0:
        yield InProcess(evaluator)
        return
    with ray_cluster(ray_address, cpus=workers * evaluator.threads) as ray:
        require_room(ray, workers, evaluator.threads)
        gpus = node_resources(ray, "GPU")
        if gpus_per_worker and sum(int(count / gpus_per_worker) for count in gpus) < workers:
            raise UserError(
                f"evaluate.gpus_per_worker: must let {workers} workers fit on the cluster's {sum(gpus):g} GPUs, "
                f"but got {gpus_per_worker:g}"
            )
        yield RayActors(ray, evaluator, workers, gpus_per_worker)


def score_one(evaluator: Evaluator, work: Work) -> Outcome:
    """The evaluator's result, or the reason of its failure; a candidate that fails must not end a search."""
    compute = ComputeMeter()
    try:
        return evaluator.relax(work, compute) if isinstance(work, Relaxation) else evaluator.score(work, compute)
    except UserError as error:
        return Failure(str(error), pflop=compute.pflop)
    except Exception as error:  # its reason is recorded with the trial
        text = " ".join(str(error).split())[:300]
        memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
        kind = "out of memory" if memory else type(error).__name__
        reason = f"{kind}: {text}" if text else kind
        return Failure(reason, transient=memory or isinstance(error, OSError), pflop=compute.pflop)


class InProcess:
    """Scores architectures one by one, and shows the progress of each training."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = replace(evaluator, progress=progress_bar)

    def score(self, work: Sequence[Work]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes in the order of `work`."""
        for index, item in enumerate(work):
            yield index, score_one(self.evaluator, item)


class RayActors:
    """A fixed number of actors; supernet weights and images are put into the object store once.

    A lost worker is replaced, and the architecture that it was scoring is scored again, up to `MAX_LOSSES` times. A
    worker that is lost while it starts or waits counts against no architecture; `MAX_LOST_STARTS` in a row end the
    search.
    """

    def __init__(self, ray: Any, evaluator: Evaluator, workers: int, gpus_per_worker: float = 0.0) -> None:
        self.ray = ray
        needs = {"num_cpus": evaluator.threads, "num_gpus": gpus_per_worker}
        # restarted and retried here, since Ray can't tell a worker that was lost while it started
        self.new_actor = ray.remote(**needs, max_restarts=0, max_task_retries=0)(_Worker).remote
        self.shared = ray.put(evaluator)
        self.actors = [self.new_actor() for _ in range(workers)]
        self.lost_starts = 0

    def score(self, work: Sequence[Work]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes as they finish; an actor gets its next architecture when its current one is scored.

        Raises UserError where workers are lost while they start, again and again.
        """
        todo, losses, unfinished = deque(range(len(work))), Counter[int](), len(work)
        running: dict[Any, tuple[int, int | None]] = {}  # call -> place of its actor, index of its work (None: starts)

        def hand_out(place: int) -> None:
            if todo:
                index = todo.popleft()
                running[self.actors[place].score.remote(work[index])] = place, index

        def start(place: int) -> None:
            # in a list Ray passes the reference itself instead of unpacking the evaluator with every call
            running[self.actors[place].prepare.remote([self.shared])] = place, None

        for place in range(len(self.actors)):
            start(place)  # again, since an actor may have been lost since the last call
        while unfinished:
            (call,), _ = self.ray.wait(list(running), num_returns=1)
            place, index = running.pop(call)
            try:
                outcome: Outcome | None = self.ray.get(call)
            except self.ray.exceptions.RayError as error:
                outcome = self._lost(error, index, losses)
                self.actors[place] = self.new_actor()
                if outcome is None and index is not None:
                    todo.appendleft(index)
                start(place)
            else:
                self.lost_starts = 0
                hand_out(place)
            if outcome is not None and index is not None:
                unfinished -= 1
                yield index, outcome

    def _lost(self, error: Exception, index: int | None, losses: Counter[int]) -> Failure | None:
        """The failure of the work `index` whose worker was lost; None where it is to be repeated."""
        if index is None:
            self.lost_starts += 1
            if self.lost_starts >= MAX_LOST_STARTS:
                raise UserError(f"evaluate.workers: {_lost_reason(error, self.lost_starts)}, always while it started")
            return None
        losses[index] += 1
        reason = _lost_reason(error, losses[index])
        if losses[index] >= (MAX_MEMORY_LOSSES if _is_memory(error) else MAX_LOSSES):
            return Failure(reason, transient=True)
        print_note(f"a candidate is scored again: {reason}")
        return None


def _is_memory(error: Exception) -> bool:
    return type(error).__name__ == "OutOfMemoryError"


def _lost_reason(error: Exception, times: int) -> str:
    """Ray's reason for a worker that was lost, the last of a number of times, in one line."""
    lines = str(error).strip().splitlines()
    often = "once" if times == 1 else f"{times} times"
    if _is_memory(error):
        return f"out of memory, so Ray ended its worker {often}: {lines[0][:200]}"
    # lines that identify the actor are indented; the others state the cause
    causes = [line for line in lines if not line.startswith("\t")]
    return f"its worker was lost {often}: {' '.join(causes)[:300]}"


class _Worker:
    """Its initialisation does nothing that can fail; `prepare` comes before the first `score`."""

    def __init__(self) -> None:
        self.evaluator: Evaluator | None = None

    def prepare(self, shared: list[Any]) -> None:
        """Fetch the evaluator, unless that was done before."""
        if self.evaluator is None:
            import ray

            self.evaluator = ray.get(shared[0])
            # torch imports much when this is first called: while the worker starts, not while it scores
            torch.nn.Linear(1, 1, device="meta").to_empty(device="cpu")

    def score(self, work: Work) -> Outcome:
        assert self.evaluator is not None, "prepare comes first"
        return score_one(self.evaluator, work)
