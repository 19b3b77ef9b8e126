"""`aebnas retrain`: train one picked architecture by itself, then find its exit thresholds anew."""

from pathlib import Path
from typing import Any, Literal

from aebnas.evaluate.evaluator import inherit
from aebnas.evaluate.points import CALIBRATE, found_policies, operating_point, splits_needed
from aebnas.files import write_text
from aebnas.policy.tabulate import tabulate
from aebnas.policy.thresholds import best_within, frontier
from aebnas.runtime.decide import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.train.config import RetrainSpec
from aebnas.train.loop import fit, write_rows
from aebnas.train.single import SingleTask, fresh_network, with_norm_stats
from aebnas.trial import OperatingPoint
from aebnas.workspace import Workspace, model_weights, note_pick, save_weights

NORM_IMAGES = 4096
"""Training pictures for the final norm statistics."""


def retrain(
    folder: Path, rule: str, weights: Literal["supernet", "scratch"] | None = None, epochs: int | None = None
) -> tuple[str, OperatingPoint]:
    """Retrain the pick; returns its id and its operating point on the search split.

    Where the space optimises thresholds, they are found again on `calibrate` under the new weights, the most
    accurate within the pick's average MACs (or, with a soft target that tunes them, the best for it); other
    threshold genes stay as they are. Raises UserError.
    """
    workspace = Workspace.open(folder)
    with workspace.run.locked():
        trial, point = workspace.pick(rule)
        changes = {k: v for k, v in {"weights": weights, "epochs": epochs}.items() if v is not None}
        spec = RetrainSpec.model_validate(workspace.experiment.retrain.model_dump() | changes)
        with workspace.run.timed(f"retrain {point.id}"):
            network = train_alone(workspace, trial.architecture, spec, point.id)
            policy = _policy(workspace, network, point)
        table = tabulate(network, workspace.splits.search, workspace.preprocessing, [policy.criterion])
        retrained = operating_point(trial.architecture, policy, table)
        origin = "the supernet's weights" if spec.weights == "supernet" else "scratch"
        record: dict[str, Any] = retrained.to_json()
        record |= {"source": f"retrained for {spec.epochs} epochs from {origin}"}
        record |= {"samples": len(workspace.splits.search)}
        save_weights(network, model_weights(workspace.run, point.id))
        note_pick(workspace.run, point.id, "retrained", record)
    return point.id, retrained


def train_alone(workspace: Workspace, architecture: Architecture, spec: RetrainSpec, name: str) -> Network:
    """The architecture trained as a plain Network, on the CPU in evaluation mode.

    The checkpoint of an interrupted run of the same settings is picked up.
    """
    experiment, device = workspace.experiment, workspace.device
    folder = model_weights(workspace.run, name).parent
    checkpoint = folder / "checkpoint.pt"
    settings = folder / "settings.json"
    text = spec.model_dump_json(indent=2)
    if not settings.exists() or settings.read_text(encoding="utf-8") != text:
        checkpoint.unlink(missing_ok=True)  # of other settings
        write_text(settings, text)
    if spec.weights == "supernet":
        supernet = workspace.trained_supernet()
        network = inherit(supernet, architecture, workspace.calibration(experiment.evaluate.calibration_images))
    else:
        network = fresh_network(architecture, experiment.seed)
    network = network.to(device)
    validation, preprocessing = workspace.splits.search, workspace.preprocessing
    calibration = [x.to(device) for x in workspace.calibration(experiment.evaluate.calibration_images)]
    trained = fit(
        SingleTask(network, architecture, spec, validation, preprocessing, calibration),
        workspace.training_batches(spec.batch_size),
        spec,
        experiment.seed,
        f"retrain {name}",
        checkpoint,
        lambda rows: write_rows(folder / "train_epoch_metrics.csv", rows),
    )
    finished = with_norm_stats(trained.cpu(), workspace.calibration(NORM_IMAGES))
    checkpoint.unlink(missing_ok=True)
    return finished


def _policy(workspace: Workspace, network: Network, point: OperatingPoint) -> ExitPolicy:
    spec, target = workspace.space.spec.policy, workspace.experiment.parsed_target()
    if CALIBRATE not in splits_needed(spec, target):
        return point.policy
    criteria, optimise = spec.criterion, spec.thresholds.optimise
    table = tabulate(network, getattr(workspace.splits, CALIBRATE), workspace.preprocessing, criteria)
    if optimise is None:
        return found_policies(table, spec, target)[0]
    tuned = frontier(table, criteria, optimise.per_exit, max_points=10_000)
    return best_within(tuned, point.metrics["avg_macs"]).policy
