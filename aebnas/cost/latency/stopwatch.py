"""Times layers and whole networks in PyTorch, in a given setting; see `rounds`.

Imports torch, `rounds` and `aebnas.runtime` only, since the file is copied to the folder that `profile --emit` writes.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aebnas.cost.latency.rounds import Call, finished, measure_in_rounds, processor, wall_times_ms
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class MeasurementSetting:
    """How a network is run; measurements in different settings are never combined.

    Raises ValueError for an unknown choice.
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
        """Inside, torch uses the setting's threads and no gradients. Raises ValueError without the device."""
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
        """Prepare a network for this setting; `compiled` compiles each node separately, as exits decide in between."""
        self.ready(network)
        if self.compiled:
            for name, module in network.nodes.items():
                network.nodes[name] = torch.compile(module)  # type: ignore[assignment]
        return network


def leave_at(exit_index: int, exits: int, never: Sequence[int] = ()) -> ExitPolicy:
    """The policy under which every sample leaves at exit `exit_index`; branches of the exits in `never` don't run."""
    thresholds = [1.0] * exit_index + [0.0] * (exits - 1 - exit_index)
    return ExitPolicy("margin", tuple(None if e in never else threshold for e, threshold in enumerate(thresholds)))


def layer_call(layer: dict[str, Any], setting: MeasurementSetting) -> Call:
    """A call of one layer of a job."""
    module = setting.ready(OPS[layer["op"]].build(**layer["attrs"]))
    if setting.compiled:
        module = torch.compile(module)  # type: ignore[assignment]
    inputs = [setting.inputs(shape) for shape in layer["in_shapes"]]
    return lambda: module(*inputs)


def network_call(subject: dict[str, Any], setting: MeasurementSetting) -> Call:
    """A call of one network of a job with random weights, in which every sample leaves at the same exit."""
    graph = Graph.from_json(subject["graph"])
    network = setting.network(Network(graph))
    x_nchw, policy = (
        setting.inputs(graph.input_shape),
        leave_at(subject["leave"], len(graph.exits), subject.get("never", ())),
    )
    return lambda: network.infer(x_nchw, policy)


def difficulty_call(image: Sequence[int], setting: MeasurementSetting) -> Call:
    """A call of the estimate of the difficulty of a batch of images `(c, h, w)`, which is never compiled."""
    pixels = torch.randint(0, 256, (setting.batch, *image), dtype=torch.uint8, device=setting.device)
    estimator = Difficulty(0.1, (1.0, 1.0, 1.0))  # its constants have no effect on its time
    return lambda: estimator.alpha(pixels)


def _call(job: dict[str, Any], subject: int, setting: MeasurementSetting) -> Call:
    layers, networks = job["layers"], job["networks"]
    if subject < len(layers):
        return layer_call(layers[subject], setting)
    if subject < len(layers) + len(networks):
        return network_call(networks[subject - len(layers)], setting)
    return difficulty_call(job["image"], setting)


def call_times_ms(call: Call, device: str, calls: int) -> list[float]:
    """The time of each of `calls` calls; on a GPU by events, with a synchronisation after each call."""
    if device != "cuda":
        return wall_times_ms(call, calls)
    times = []
    for _ in range(calls):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return times


def measure(job: dict[str, Any], record: Path, advance: Callable[[], object]) -> list[list[float]]:
    """`measure_in_rounds` of a job in its setting; raises ValueError also where the device isn't available."""
    setting = MeasurementSetting(**job["setting"])
    with setting.applied():
        module, x_nchw = setting.ready(torch.nn.Conv2d(32, 32, 3)), setting.inputs((32, 16, 16))
        return measure_in_rounds(
            job,
            record,
            lambda subject: _call(job, subject, setting),
            lambda: module(x_nchw),
            advance,
            lambda call, calls: call_times_ms(call, setting.device, calls),
        )


def describe_device(device: str) -> dict[str, Any]:
    """The properties of the device that measurements depend on; no host or user names."""
    if device == "cuda":
        return {"name": torch.cuda.get_device_name(), "machine": platform.machine()}
    return {
        "name": processor(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def result(job: dict[str, Any], times_ms: list[list[float]]) -> dict[str, Any]:
    """A finished job: all data that a profile is made from."""
    return finished(job, times_ms, describe_device(job["setting"]["device"]), {"torch": torch.__version__})
