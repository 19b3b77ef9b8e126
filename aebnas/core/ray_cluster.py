"""Ray, started and stopped around a piece of work; what it prints of itself is kept off the user's screen."""

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aebnas.core.errors import UserError

LOCAL = "local"
"""Address of a Ray of our own."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # workers keep the directory of the user's command, so that paths mean the same everywhere
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # how long the end of a training goes unnoticed
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # a busy machine takes long to import torch
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
}


def apply_settings() -> None:
    """Set what Ray reads from this process's environment, where the user hasn't."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


@contextmanager
def ray_cluster(address: str, cpus: int) -> Iterator[Any]:
    """The `ray` module, connected; disconnected (and a Ray of our own stopped) at the end.

    `address` is `local` (a Ray of our own with `cpus` CPUs), `auto` (the cluster this machine is part of) or a
    cluster's address. Raises UserError if it can't be reached.
    """
    apply_settings()
    import ray

    on_sigterm = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if address == LOCAL:
                # named, since without an address Ray joins any cluster that happens to run on this machine
                ray.init(address=LOCAL, num_cpus=cpus, include_dashboard=False, **quiet)
            else:
                ray.init(address=address, **quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise UserError(f"ray: '{address}' cannot be reached: {str(error).splitlines()[0]}") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would end the process with another exit code
    try:
        yield ray
    finally:
        ray.shutdown()


def require_room(ray: Any, workers: int, threads: int) -> None:
    """Raise UserError where the cluster's machines can't hold so many workers; Ray would wait for room forever."""
    machines = node_resources(ray, "CPU")
    if sum(cpus // threads for cpus in machines) < workers:
        raise UserError(
            f"ray: the cluster must have room for {workers} workers of {threads} CPUs each, "
            f"but its machines have {', '.join(map(str, machines))}"
        )


def threads_each(ray: Any, workers: int) -> int:
    """The most CPUs that each of so many workers can have; at least 1."""
    machines = node_resources(ray, "CPU")
    fitting = [t for t in range(1, max(machines, default=1) + 1) if sum(cpus // t for cpus in machines) >= workers]
    return max(fitting, default=1)


def node_resources(ray: Any, resource: str) -> list[int]:
    """How much of a resource (`CPU`, `GPU`) each living machine of the cluster has in all."""
    return [int(node["Resources"].get(resource, 0)) for node in ray.nodes() if node["Alive"]]


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class ProgressActor:
    """An actor on which workers write how far they are, or why they can't go on; made by `open_progress_actor`."""

    def __init__(self) -> None:
        self.steps: tuple[int, int] | None = None
        self.error: Exception | None = None

    def report(self, done: int, total: int) -> None:
        """Steps done, of so many."""
        self.steps = done, total

    def fail(self, error: Exception) -> None:
        """The first error stays."""
        self.error = self.error or error

    def read(self) -> tuple[tuple[int, int] | None, Exception | None]:
        """The last report and the error; None where there is none."""
        return self.steps, self.error


def open_progress_actor(ray: Any) -> Any:
    """A ProgressActor on this machine."""
    return ray.remote(num_cpus=0, scheduling_strategy=on_this_machine(ray))(ProgressActor).remote()


def on_this_machine(ray: Any) -> Any:
    """Scheduling strategy of what must run beside the user's process."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
