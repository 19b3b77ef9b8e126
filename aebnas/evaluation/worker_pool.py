"""Scoring architectures in this process, or by Ray actors in parallel, with the same results."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.core.ray_cluster import LOCAL, node_resources, ray_cluster, require_room
from aebnas.evaluation.darts.relaxed_training import Relaxation
from aebnas.evaluation.evaluator import Evaluator, RelaxedResult, Scored, Work

RETRIES = 1
"""How many times scoring an architecture is retried when its worker dies."""


@dataclass(frozen=True)
class Failure:
    """The reason why an architecture could not be scored. A `transient` failure was caused by the machine (a lost
    worker, memory, a disk), not by the architecture, so a retry may succeed."""

    reason: str
    transient: bool = False


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
    try:
        return evaluator.relax(work) if isinstance(work, Relaxation) else evaluator.score(work)
    except UserError as error:
        return Failure(str(error))
    except Exception as error:  # its reason is recorded with the trial
        text = " ".join(str(error).split())[:300]
        memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text
        kind = "out of memory" if memory else type(error).__name__
        return Failure(f"{kind}: {text}" if text else kind, transient=memory or isinstance(error, OSError))


class InProcess:
    """Scores architectures one by one, and shows the progress of each training."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = replace(evaluator, progress=progress_bar)

    def score(self, work: Sequence[Work]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes in the order of `work`."""
        for index, item in enumerate(work):
            yield index, score_one(self.evaluator, item)


class RayActors:
    """A fixed number of actors; supernet weights and images are put into the object store once."""

    def __init__(self, ray: Any, evaluator: Evaluator, workers: int, gpus_per_worker: float = 0.0) -> None:
        self.ray = ray
        needs = {"num_cpus": evaluator.threads, "num_gpus": gpus_per_worker}
        actor = ray.remote(**needs, max_restarts=-1, max_task_retries=RETRIES)(_Worker)
        self.shared = ray.put(evaluator)
        self.actors = [actor.remote() for _ in range(workers)]

    def score(self, work: Sequence[Work]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes as they finish; an actor gets its next architecture when its current one is scored."""
        todo = iter(enumerate(work))
        running: dict[Any, tuple[int, Any]] = {}

        def hand_out(actor: Any) -> None:
            item = next(todo, None)
            if item is not None:
                running[actor.score.remote([self.shared], item[1])] = (item[0], actor)

        for actor in self.actors:
            hand_out(actor)
        while running:
            done, _ = self.ray.wait(list(running), num_returns=1)
            index, actor = running.pop(done[0])
            try:
                outcome: Outcome = self.ray.get(done[0])
            except self.ray.exceptions.RayError as error:
                outcome = Failure(_lost_reason(error), transient=True)
            hand_out(actor)
            yield index, outcome


def _lost_reason(error: Exception) -> str:
    """Ray's reason for a worker that was lost in every attempt, in one line."""
    lines = str(error).strip().splitlines()
    if type(error).__name__ == "OutOfMemoryError":
        return f"out of memory, so Ray ended its worker {RETRIES + 1} times: {lines[0][:200]}"
    # lines that identify the actor are indented; the others state the cause
    causes = [line for line in lines if not line.startswith("\t")]
    return f"its worker was lost {RETRIES + 1} times: {' '.join(causes)[:300]}"


class _Worker:
    """Fetches the evaluator with its first architecture, so that a restarted actor requires no initialisation."""

    def __init__(self) -> None:
        self.evaluator: Evaluator | None = None

    def score(self, shared: list[Any], work: Work) -> Outcome:
        # in a list Ray passes the reference itself instead of unpacking the evaluator with every call
        if self.evaluator is None:
            import ray

            self.evaluator = ray.get(shared[0])
        return score_one(self.evaluator, work)
