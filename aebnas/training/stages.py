"""Training one network completely: in one stage, or the backbone first and then the branches on it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor

from aebnas.core.progress import Counter, progress_bar
from aebnas.data.batches import Batches
from aebnas.data.image_set import ImageSet
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.training.compiled import with_compiling_decided
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.compute.forward_flop import forward_flop
from aebnas.training.loop import fit
from aebnas.training.single_network import SingleTask, Stage
from aebnas.training.task import Row
from aebnas.training.training_spec import TrainSpec

BACKBONE_CHECKPOINT = "backbone.pt"
"""Name of the first stage's checkpoint, beside that of the second."""


def fit_network(
    network: Network,
    architecture: Architecture,
    spec: TrainSpec,
    batches: Batches,
    seed: int,
    label: str,
    checkpoint: Path | None,
    validation: ImageSet | None,
    calibration: Sequence[Tensor],
    norm_calibration: Sequence[Tensor],
    on_rows: Callable[[list[Row]], None] = lambda rows: None,
    progress: Callable[[str, int, int], AbstractContextManager[Counter]] = progress_bar,
    compute: ComputeMeter | None = None,
) -> Network:
    """The trained network in evaluation mode, on the device of `network`; see `loop.fit` for most arguments.

    Norm statistics are estimated on `norm_calibration` at the end, on `calibration` at validations. `compute` receives
    the FLOP of both stages and of the final norm statistics, also of a training that fails. Raises UserError as
    `loop.fit`.
    """
    compute = ComputeMeter() if compute is None else compute
    spec = with_compiling_decided(spec, len(batches))
    share = spec.exits.frozen_backbone if len(network.graph.exits) > 1 else 0.0
    earlier: list[Row] = []

    def run(network: Network, spec: TrainSpec, label: str, checkpoint: Path | None, stage: Stage) -> Network:
        preprocessing, class_weights = batches.preprocessing, batches.class_weights
        task = SingleTask(network, architecture, spec, validation, preprocessing, calibration, class_weights, stage)
        rows: list[Row] = []

        def report(so_far: list[Row]) -> None:
            rows[:] = so_far
            on_rows(earlier + so_far)

        used = ComputeMeter()
        try:
            trained = fit(task, batches, spec, seed, label, checkpoint, report, progress, compute=used)
        finally:
            compute.add(used.flop)
        earlier.extend(rows)
        finished = task.finished(trained, norm_calibration)
        compute.add(forward_flop(finished.graph, norm_calibration))
        return finished

    if not share:
        return run(network, spec, label, checkpoint, "joint")
    at = checkpoint and checkpoint.with_name(BACKBONE_CHECKPOINT)
    network = run(network, spec.part(1 - share, len(batches)), f"{label}, backbone", at, "backbone")
    return run(network, spec.part(share, len(batches)), label, checkpoint, "branches")
