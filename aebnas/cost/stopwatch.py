"""Times layers and whole networks: in rounds through all of them, so that drift of the machine hits all alike.

Imports torch and `aebnas.runtime` only, since it goes into the folder that `profile --emit` writes as it is. What is
to be measured is a job (a JSON-ready dictionary made by `profiling.make_job`); what was measured is appended to a file
line by line, so that a kill loses one measurement at most and the same call goes on from there.
"""

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aebnas.runtime.decide import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
WARM_UP_CALLS = 3
VISIT_MS = 5.0
"""A visit to a subject takes at least this long or `MAX_CALLS`, and `MIN_CALLS` at least; its figure is the median."""
MIN_CALLS, MAX_CALLS = 5, 50

DISTURBED = 1.15
"""A visit is disturbed where the yardstick beside it takes so many times what it takes on the idle machine."""
MAX_TRIES = 6
"""How often a visit is tried while something disturbs it; the least disturbed try then counts."""
YARDSTICK_CALLS = 5
YARDSTICKS_KEPT = 400

Call = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """How something is run; figures of different settings are never put together.

    Raises ValueError for a choice that isn't there.
    """

    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    dtype: str = "fp32"
    memory_format: str = "contiguous"
    compiled: bool = False

    def __post_init__(self) -> None:
        choices = {"device": ("cpu", "cuda"), "dtype": tuple(DTYPES), "memory_format": tuple(FORMATS)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, but got '{getattr(self, name)}'")
        for name in ("threads", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}")

    @property
    def key(self) -> str:
        """The setting in one line, such as `cpu, 1 thread, batch 1, fp32, contiguous`."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        parts = [self.device, threads, f"batch {self.batch}", self.dtype, self.memory_format]
        return ", ".join(parts + ["compiled"] * self.compiled)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """As many threads as said, and no gradients; afterwards as before. Raises ValueError without the device."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device must be cpu, since PyTorch finds no CUDA GPU here, but got cuda")
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.no_grad():
                yield
        finally:
            torch.set_num_threads(before)

    def ready(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module in evaluation mode, on the device, in the number and memory format."""
        return module.eval().to(self.device, DTYPES[self.dtype]).to(memory_format=FORMATS[self.memory_format])

    def inputs(self, shape: Iterable[int]) -> torch.Tensor:
        """A random batch of maps of a shape."""
        return self.placed(torch.randn(self.batch, *shape))

    def placed(self, x_nchw: torch.Tensor) -> torch.Tensor:
        """Maps on the device, in the number and memory format."""
        return x_nchw.to(self.device, DTYPES[self.dtype]).contiguous(memory_format=FORMATS[self.memory_format])

    def network(self, network: Network) -> Network:
        """A network to be run in this setting; compiled means each node by itself, since exits decide in between."""
        self.ready(network)
        if self.compiled:
            for name, module in network.nodes.items():
                network.nodes[name] = torch.compile(module)  # type: ignore[assignment]
        return network


def leave_at(exit_index: int, exits: int, never: Sequence[int] = ()) -> ExitPolicy:
    """The policy under which every sample passes the exits before this one and leaves there; branches of the exits in
    `never` don't run."""
    thresholds = [1.0] * exit_index + [0.0] * (exits - 1 - exit_index)
    return ExitPolicy("margin", tuple(None if e in never else threshold for e, threshold in enumerate(thresholds)))


def layer_call(layer: dict[str, Any], setting: Setting) -> Call:
    """One layer of a job, ready to be called."""
    module = setting.ready(OPS[layer["op"]].build(**layer["attrs"]))
    if setting.compiled:
        module = torch.compile(module)  # type: ignore[assignment]
    inputs = [setting.inputs(shape) for shape in layer["in_shapes"]]
    return lambda: module(*inputs)


def network_call(subject: dict[str, Any], setting: Setting) -> Call:
    """One whole network of a job with freshly drawn weights, left by all at one exit."""
    graph = Graph.from_json(subject["graph"])
    network = setting.network(Network(graph))
    x_nchw, policy = setting.inputs(graph.input_shape), leave_at(subject["leave"], len(graph.exits), subject.get("never", ()))
    return lambda: network.infer(x_nchw, policy)


def call_times_ms(call: Call, device: str, calls: int) -> list[float]:
    """The time each of so many calls takes; on a GPU by events, each call waited for."""
    times = []
    for _ in range(calls):
        if device == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            started = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - started))
    return times


def visit_ms(call: Call, device: str) -> float:
    """Median time of a call after a warm-up."""
    warm = call_times_ms(call, device, WARM_UP_CALLS)
    calls = min(max(MIN_CALLS, round(VISIT_MS / max(min(warm), 1e-3))), MAX_CALLS)
    return statistics.median(call_times_ms(call, device, calls))


class Yardstick:
    """Tells whether the machine is busy with something else: a convolution whose time is known from earlier calls.

    Whatever shares a core, a cache or the clock with a measurement slows the yardstick as well.
    """

    def __init__(self, setting: Setting) -> None:
        module, x_nchw = setting.ready(torch.nn.Conv2d(32, 32, 3)), setting.inputs((32, 16, 16))
        self._call, self._device = lambda: module(x_nchw), setting.device
        self._times: list[float] = []
        for _ in range(WARM_UP_CALLS):
            self.slowed()

    def slowed(self) -> float:
        """How many times as long it takes now as it did in the best tenth of its last calls."""
        now = statistics.median(call_times_ms(self._call, self._device, YARDSTICK_CALLS))
        self._times = [*self._times[-YARDSTICKS_KEPT:], now]
        return now / sorted(self._times)[len(self._times) // 10]


def undisturbed_ms(call: Call, device: str, yardstick: Yardstick) -> float:
    """`visit_ms` of a try before and after which the machine was idle; see `MAX_TRIES`."""
    tries: list[tuple[float, float]] = []
    while len(tries) < MAX_TRIES:
        before = yardstick.slowed()
        ms = visit_ms(call, device)
        tries.append((max(before, yardstick.slowed()), ms))
        if tries[-1][0] <= DISTURBED:
            break
    return min(tries)[1]


def visits(job: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """(round, subject) of everything to be measured: each round goes through all subjects in an order of its own."""
    subjects = len(job["layers"]) + len(job["networks"])
    for number in range(job["rounds"]):
        order = list(range(subjects))
        random.Random(f"{job['seed']}-{number}").shuffle(order)
        for subject in order:
            yield number, subject


def measure(job: dict[str, Any], record: Path, advance: Callable[[], object]) -> list[list[float]]:
    """Measure what `record` doesn't hold yet; milliseconds of every subject (layers, then networks), one a round.

    `advance` is called after each measurement. Raises ValueError where `record` belongs to another job.
    """
    setting = Setting(**job["setting"])
    known = recorded(job, record)
    with setting.applied(), record.open("a", encoding="utf-8") as lines:
        yardstick = Yardstick(setting)
        if not record.stat().st_size:
            lines.write(json.dumps({"job": job["id"]}) + "\n")
        for number, subject in visits(job):
            if (number, subject) in known:
                continue
            known[number, subject] = ms = undisturbed_ms(_call(job, subject, setting), setting.device, yardstick)
            lines.write(json.dumps([number, subject, ms]) + "\n")
            lines.flush()
            advance()
    subjects = len(job["layers"]) + len(job["networks"])
    return [[known[number, subject] for number in range(job["rounds"])] for subject in range(subjects)]


def recorded(job: dict[str, Any], record: Path) -> dict[tuple[int, int], float]:
    """What `record` holds of a job, by (round, subject); a line that a kill tore off is cut away.

    Raises ValueError where it belongs to another job.
    """
    if not record.exists():
        return {}
    content = record.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(record, whole)
    lines = [json.loads(line) for line in content[:whole].splitlines()]
    if lines and lines[0] != {"job": job["id"]}:
        raise ValueError(f"{record}: was begun for another space or setting; delete it, or choose another --out")
    return {(number, subject): ms for number, subject, ms in lines[1:]}


def _call(job: dict[str, Any], subject: int, setting: Setting) -> Call:
    layers = job["layers"]
    if subject < len(layers):
        return layer_call(layers[subject], setting)
    return network_call(job["networks"][subject - len(layers)], setting)


def describe_device(device: str) -> dict[str, Any]:
    """What the figures depend on beside the setting; no host or user names."""
    if device == "cuda":
        return {"name": torch.cuda.get_device_name(), "machine": platform.machine()}
    return {
        "name": _processor(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return named[0] if named else platform.processor()


def result(job: dict[str, Any], times_ms: list[list[float]]) -> dict[str, Any]:
    """A finished job: everything a profile is made of."""
    return {
        "job": job,
        "device": describe_device(job["setting"]["device"]),
        "libraries": {"python": platform.python_version(), "torch": torch.__version__},
        "date": time.strftime("%Y-%m-%d"),
        "times_ms": [[round(ms, 6) for ms in rounds] for rounds in times_ms],
    }
