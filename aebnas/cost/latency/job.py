"""The job of `aebnas profile`: distinct layers of a space, whole networks, and the difficulty estimator."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from aebnas.core.errors import UserError
from aebnas.cost.latency.space_layers import space_keys
from aebnas.cost.latency.stopwatch import MeasurementSetting
from aebnas.runtime.difficulty import estimable
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower

SEED = 2026
ROUNDS = 9
NETWORKS = 60
WHOLE = 200
"""Number of networks to measure where no layer is."""
MAX_LAYERS = 20_000
"""Of more distinct layers than this a random sample is measured, and the rest estimated from it."""
JOB = "aebnas-profile-job-1"


def make_setting(
    device: str, threads: int, batch: int, dtype: str, memory_format: str, compiled: bool
) -> MeasurementSetting:
    """The setting given by options; raises UserError for an unknown choice."""
    try:
        return MeasurementSetting(device, threads, batch, dtype, memory_format, compiled)
    except ValueError as error:
        raise UserError(f"--{error}".replace("memory_format", "memory-format")) from None


def make_job(
    space: SearchSpace,
    setting: MeasurementSetting,
    rounds: int = ROUNDS,
    networks: int = NETWORKS,
    max_layers: int = MAX_LAYERS,
    seed: int = SEED,
    whole: bool = False,
) -> dict[str, Any]:
    """The job as JSON: all distinct layers of the space, stop heads included, random networks, each left at one exit,
    and the estimator of difficulty for the space's `image` (None for images that it doesn't support).

    Layers beyond `max_layers` are `left_out`; with `whole` no layer is measured. Networks are left alternately at a
    random exit and at the last, so that the cost of exits can be separated from that of nodes.
    """
    rng = np.random.default_rng(seed)
    keys = [] if whole else sorted(space_keys(space.spec, stop_heads=True), key=repr)
    layers = [{"op": op, "in_shapes": shapes, "attrs": dict(attrs)} for op, shapes, attrs in keys]
    selected = set(rng.permutation(len(layers))[:max_layers].tolist())
    job: dict[str, Any] = {
        "format": JOB,
        "setting": asdict(setting),
        "rounds": rounds,
        "seed": seed,
        "layers": [layer for index, layer in enumerate(layers) if index in selected],
        "left_out": [layer for index, layer in enumerate(layers) if index not in selected],
        "networks": [],
        "image": image if estimable(image := space.spec.input.shape) else None,
    }
    for number in range(networks):
        architecture = space.decode(space.sample(rng)).architecture
        graph = lower(architecture)
        last = len(graph.exits) - 1
        leave = last if number % 2 else int(rng.integers(last + 1))
        job["networks"].append({"graph": graph.to_json(), "leave": leave, "architecture": architecture.to_json()})
    job = json.loads(json.dumps(job))
    return job | {"id": hashlib.blake2b(json.dumps(job, sort_keys=True).encode(), digest_size=8).hexdigest()}
