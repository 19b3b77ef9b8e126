"""Measures the ONNX models of job.json on this device. Needs Python 3.11, numpy and onnxruntime, nothing else.

    python measure.py [--out result.json]

If stopped, the same command resumes. Keep the device idle and at a fixed clock speed meanwhile. Import the result with
`aebnas profile SPACE --import result.json`.
"""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from aebnas.cost.latency.rounds import Call, finished, measure_folder, measure_in_rounds, processor

HERE = Path(__file__).resolve().parent


def measure(job: dict[str, Any], record: Path, advance: Any) -> list[list[float]]:
    """Milliseconds of every subject (see `rounds.subjects`), one per round."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["setting"]["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3

    def call_of(name: str) -> Call:
        session = onnxruntime.InferenceSession(str(HERE / "models" / name), options, ["CPUExecutionProvider"])
        feeds = {tensor.name: random_input(tensor) for tensor in session.get_inputs()}
        return lambda: session.run(None, feeds)

    return measure_in_rounds(
        job, record, lambda subject: call_of(f"{subject:05d}.onnx"), call_of("reference.onnx"), advance
    )


def random_input(tensor: Any) -> np.ndarray:
    """A random input: float maps, or images for a model with uint8 inputs."""
    rng = np.random.default_rng(0)
    if tensor.type == "tensor(uint8)":
        return rng.integers(0, 256, tensor.shape, dtype=np.uint8)
    return rng.standard_normal(tensor.shape, dtype=np.float32)


def result(job: dict[str, Any], times_ms: list[list[float]]) -> dict[str, Any]:
    """A finished job: all data that a profile is made from."""
    device = {
        "name": processor(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
    }
    return finished(job, times_ms, device, {"onnxruntime": onnxruntime.__version__})


if __name__ == "__main__":
    measure_folder(HERE, __doc__, measure, result)
