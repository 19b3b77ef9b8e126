"""`aebnas retrain`: train one picked architecture by itself, then find its exit thresholds anew."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

from aebnas.core.atomic_files import remove_partials, write_text
from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.core.errors import UserError
from aebnas.core.metrics import mean_of, tuned_cost
from aebnas.core.progress import progress_bar
from aebnas.core.spec_base import parse_spec, updated
from aebnas.evaluation.evaluator import inherit
from aebnas.evaluation.operating_points import CALIBRATE, found_policies, operating_point, splits_needed
from aebnas.policies.exit_table.tabulate import tabulate, tabulate_for
from aebnas.policies.threshold_search.find import find, rules_for
from aebnas.report.front_files import rewrite_html
from aebnas.report.tensorboard import TrainingScalars
from aebnas.run.session import RunSession
from aebnas.run.weight_files import model_weights, save_weights
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.selected.selected_model import kept_network, note_pick, read_pick
from aebnas.space.architecture import Architecture
from aebnas.space.min_exits import min_exits
from aebnas.strategies.trial import OperatingPoint, Trial
from aebnas.training.exits.stop_heads import add_stop_heads
from aebnas.training.loop import write_rows
from aebnas.training.single_network import fresh_network
from aebnas.training.stages import BACKBONE_CHECKPOINT, fit_network
from aebnas.training.training_spec import RetrainSpec

NORM_IMAGES = 4096
"""Training images for the final norm statistics."""

CHECKPOINT = "checkpoint.pt"

UNFINISHED = "unfinished.json"
"""Settings of a training that has begun; deleted when what came of it is noted."""


def retrain(
    folder: Path, rule: str, weights: Literal["supernet", "scratch", "kept"] | None = None, epochs: int | None = None
) -> tuple[str, OperatingPoint]:
    """Retrain the pick; returns its id and its operating point on the search split.

    Where the space optimises thresholds, they are found again on `calibrate` under the new weights, the most
    accurate within the pick's average MACs, or latency where that is the objective (or, with a soft target that tunes
    them, the best for it); other threshold genes stay as they are. Raises UserError.
    """
    session = RunSession.open(folder)
    trial, point = session.pick(rule)
    changes = {k: v for k, v in {"weights": weights, "epochs": epochs}.items() if v is not None}
    spec = updated(session.experiment.retrain, changes, at="retrain")
    return point.id, _retrain(session, trial, point, spec)


def finish_retrainings(folder: Path) -> list[tuple[str, OperatingPoint]]:
    """Go on with the retrainings that were stopped, each with its own settings; returns ids and operating points."""
    session = RunSession.open(folder)
    known = {point.id: (trial, point) for trial in session.run.trials() for point in trial.points}
    finished = []
    for settings in sorted((folder / "models").glob(f"*/{UNFINISHED}")):
        if settings.parent.name in known:  # not what a benchmark trains
            spec = parse_spec(RetrainSpec, session.run.read_json(str(settings.relative_to(folder))), str(settings))
            trial, point = known[settings.parent.name]
            finished.append((point.id, _retrain(session, trial, point, spec)))
    return finished


def _retrain(session: RunSession, trial: Trial, point: OperatingPoint, spec: RetrainSpec) -> OperatingPoint:
    run = session.run
    with run.retraining(point.id), session.repeatable():
        remove_partials(run.model_folder(point.id))
        with run.timed(f"retrain {point.id}"):
            network = train_alone(session, trial.architecture, spec, point.id)
            policy = _policy(session, network, trial.architecture, point)
        search, costs = session.splits.search, session.cost_model
        table = tabulate_for(policy, network, search, session.preprocessing, progress_bar, costs)
        retrained = operating_point(trial.architecture, policy, table)
        origins = {"supernet": "the supernet's weights", "scratch": "scratch", "kept": "the weights of the search"}
        origin = origins[spec.weights]
        record: dict[str, Any] = retrained.to_json()
        record |= {"source": f"retrained for {spec.epochs} epochs from {origin}"}
        record |= {"samples": (samples := len(session.splits.search))} | accuracy_bounds(retrained.metrics, samples)
        # a kill between the two must not leave these weights under an earlier retraining's thresholds
        if "retrained" in read_pick(run, point.id):
            note_pick(run, point.id, "retrained", None)
        save_weights(network, model_weights(run, point.id))
        note_pick(run, point.id, "retrained", record)
        clear_training(session, point.id)
        rewrite_html(session)
    return retrained


def train_alone(session: RunSession, architecture: Architecture, spec: RetrainSpec, name: str) -> Network:
    """The architecture trained as a plain Network, on the CPU in evaluation mode.

    The checkpoint of an interrupted run of the same settings is picked up; it stays until `clear_training`.
    """
    experiment, device = session.experiment, session.device
    folder = session.run.model_folder(name)
    checkpoint, settings = folder / CHECKPOINT, folder / UNFINISHED
    text = spec.model_dump_json(indent=2)
    if not settings.exists() or settings.read_text(encoding="utf-8") != text:
        for stale in (checkpoint, folder / BACKBONE_CHECKPOINT):  # of other settings
            stale.unlink(missing_ok=True)
        write_text(settings, text)
    spec = session.with_pinned_precision(spec, device)
    if spec.weights == "kept":
        network = kept_network(session, architecture, name)
    elif architecture.adaptive:
        raise UserError(
            f"{session.run.folder}: an input-adaptive pick must be retrained from kept weights (--weights kept), "
            f"since its choices are learned with them, but got {spec.weights}"
        )
    elif spec.weights == "supernet":
        supernet = session.trained_supernet()
        network = inherit(supernet, architecture, session.calibration(experiment.evaluate.calibration_images))
    else:
        network = fresh_network(architecture, experiment.seed)
    network = add_stop_heads(network, spec.exits).to(device)
    calibration = [x.to(device) for x in session.calibration(experiment.evaluate.calibration_images)]
    scalars = session.run.folder / "tensorboard" / f"retrain-{name}"
    with TrainingScalars(scalars, partial(write_rows, folder / "train_epoch_metrics.csv")) as on_rows:
        trained = fit_network(
            network,
            architecture,
            spec,
            session.training_batches(spec.batch_size, include_arch_split=True),
            experiment.seed,
            f"retrain {name}",
            checkpoint,
            session.splits.search,
            calibration,
            [x.to(device) for x in session.calibration(NORM_IMAGES)],
            on_rows,
        )
    return trained.cpu()


def clear_training(session: RunSession, name: str) -> None:
    """Delete what a finished training would have gone on from."""
    for file in (UNFINISHED, CHECKPOINT, BACKBONE_CHECKPOINT):
        (session.run.model_folder(name) / file).unlink(missing_ok=True)


def _policy(session: RunSession, network: Network, architecture: Architecture, point: OperatingPoint) -> ExitPolicy:
    space, target = session.space.spec, session.experiment.parsed_target()
    if CALIBRATE not in splits_needed(space.policy, target):
        return point.policy
    policy, optimise = rules_for(space.policy, network.graph), space.policy.thresholds.optimise
    calibrate, costs = session.splits.calibrate, session.cost_model
    table = tabulate(network, calibrate, session.preprocessing, policy.scores, progress_bar, costs=costs)
    if optimise is None:
        return found_policies(table, architecture, space, target)[0]
    cost = tuned_cost(session.experiment.parsed_objectives())
    tuned = find(table, policy, optimise, min_exits(space, architecture), cost)
    return tuned.within(point.metrics[mean_of(cost)]).policy
