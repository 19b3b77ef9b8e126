"""Training one network completely: in one stage, or the backbone first and then the branches on it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor

from aebnas.core.progress import Counter, progress_bar
from aebnas.core.spec_base import updated
from aebnas.data.batches import Batches
from aebnas.data.image_set import ImageSet
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.compute.forward_flop import forward_flop
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec
from aebnas.training.loop import fit
from aebnas.training.single_network import SingleTask
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
    backbone_epochs = spec.exits.backbone_epochs if len(network.graph.exits) > 1 else 0
    earlier: list[Row] = []

    def stage(network: Network, spec: TrainSpec, label: str, checkpoint: Path | None, frozen: bool) -> Network:
        preprocessing, class_weights = batches.preprocessing, batches.class_weights
        task = SingleTask(network, architecture, spec, validation, preprocessing, calibration, frozen, class_weights)
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

    if backbone_epochs:
        last_exit_only = ExitTrainingSpec(warmup_epochs=backbone_epochs)
        # each stage by its share of the epochs, so that branches train, too
        share, bound = backbone_epochs / spec.epochs, spec.max_pflop
        its_own, rest = (None, None) if bound is None else (bound * share, bound * (1 - share))
        first = updated(spec, {"epochs": backbone_epochs, "exits": last_exit_only, "max_pflop": its_own})
        at = checkpoint and checkpoint.with_name(BACKBONE_CHECKPOINT)
        network = stage(network, first, f"{label}, backbone", at, frozen=False)
        # the second stage is an ordinary training of the branches, without a backbone stage
        branches = updated(spec.exits, {"backbone_epochs": 0})
        spec = updated(spec, {"epochs": spec.epochs - backbone_epochs, "exits": branches, "max_pflop": rest})
    return stage(network, spec, label, checkpoint, frozen=backbone_epochs > 0)
