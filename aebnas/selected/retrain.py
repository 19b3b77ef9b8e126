"""`aebnas retrain`: train one selected architecture separately, then find its exit thresholds again."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from aebnas.core.atomic_files import remove_partials, write_text
from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.core.errors import UserError
from aebnas.core.metrics import mean_of, tuned_accuracy, tuned_cost
from aebnas.core.progress import progress_bar
from aebnas.core.spec_base import parse_spec, updated
from aebnas.data.splits import CALIBRATE
from aebnas.evaluation.operating_points import found_policies, operating_point
from aebnas.policies.calibration.calibrated_tables import calibrated_tables
from aebnas.policies.calibration.tuning import Rules
from aebnas.policies.exit_table.tabulate import tabulate_for
from aebnas.run.earlier_trainings import upgraded_training
from aebnas.run.events import Listen, RunEvents, TrainingRows
from aebnas.run.front_files import record_spent
from aebnas.run.norm_statistics import inherited_network
from aebnas.run.pick_records import claim_model_folder, owns_model_folder, read_pick, record_pick
from aebnas.run.session import RunSession
from aebnas.run.training_setup import repeatable, training_device, with_pinned_precision
from aebnas.run.weight_files import model_weights, save_weights
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.selected.selected_model import candidate_network
from aebnas.space.architecture import Architecture
from aebnas.strategies.trial import OperatingPoint, Trial
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.compute.forward_flop import table_flop
from aebnas.training.exits.add_stop_heads import add_stop_heads
from aebnas.training.recipes.initial_weights import set_initial_weights
from aebnas.training.single_network import fresh_network
from aebnas.training.stages import BACKBONE_CHECKPOINT, fit_network
from aebnas.training.training_spec import RetrainSpec

NORM_IMAGES = 4096
"""Training images for the final norm statistics."""

CHECKPOINT = "checkpoint.pt"

UNFINISHED = "unfinished.json"
"""File with the settings of a training that has begun; deleted when its result is recorded."""


def retrain(
    folder: Path,
    rule: str,
    weights: Literal["supernet", "scratch", "kept"] | None = None,
    epochs: int | None = None,
    listen: Listen = RunEvents,
) -> tuple[str, OperatingPoint]:
    """Retrain the selected point; returns its id and its operating point on the search split.

    `weights` and `epochs` override the spec's `retrain`. Temperatures are fitted on `calibrate` under the new weights.
    If the space optimises thresholds, they are found there again: the most accurate policy within the point's average
    MACs, or latency if that is the objective. A soft target that tunes thresholds selects the best combination of
    threshold genes for it; other threshold genes stay as they are. Raises UserError if no point matches, settings
    are out of range, weights to start from are missing, or another process works on the point.
    """
    session = RunSession.open(folder)
    trial, point = session.pick(rule)
    changes: dict[str, Any] = {} if weights is None else {"weights": weights}
    if epochs is not None:
        changes |= {"epochs": epochs, "steps": None}
    spec = updated(session.experiment.retrain, changes, at="retrain")
    return point.id, _retrain(session, trial, point, spec, listen)


def finish_retrainings(folder: Path, listen: Listen = RunEvents) -> list[tuple[str, OperatingPoint]]:
    """Resume the retrainings that were stopped, each with its own settings; returns ids and operating points."""
    session = RunSession.open(folder)
    unfinished = sorted((folder / "models").glob(f"*/{UNFINISHED}"))
    names = {settings.parent.name for settings in unfinished}
    points = ((t, point) for t in (session.run.recorded() if names else ()) for point in t.points if point.id in names)
    known = {pair[1].id: pair for pair in points if owns_model_folder(session.run, pair)}
    finished = []
    for settings in unfinished:
        if settings.parent.name in known:  # other folders are those of benchmarks
            saved = session.run.read_json(str(settings.relative_to(folder)))
            spec = parse_spec(RetrainSpec, upgraded_training(saved, saved.get("epochs")), str(settings))
            trial, point = known[settings.parent.name]
            finished.append((point.id, _retrain(session, trial, point, spec, listen)))
    return finished


def _retrain(
    session: RunSession, trial: Trial, point: OperatingPoint, spec: RetrainSpec, listen: Listen
) -> OperatingPoint:
    run, picked = session.run, (trial, point)
    with run.retraining(point.id), repeatable(session.experiment), listen(session.facts) as events:
        read_pick(run, picked)  # a record of another point of the same id is reported before hours of training
        claim_model_folder(run, picked)
        remove_partials(run.model_folder(point.id))
        compute = ComputeMeter()
        with run.timed(phase := f"retrain {point.id}"):
            network = train_separately(session, trial.architecture, spec, point.id, events, compute)
            policy = _policy(session, network, trial.architecture, point, compute)
        search, costs = session.images.splits.search, session.cost_model
        table = tabulate_for(policy, network, search, session.images.preprocessing, progress_bar, costs)
        retrained = operating_point(trial.architecture.id, network.graph, policy, table)
        origins = {"supernet": "the supernet's weights", "scratch": "scratch", "kept": "the weights of the search"}
        origin = origins[spec.weights]
        record: dict[str, Any] = retrained.to_json()
        record |= {"source": f"retrained for {spec.length} from {origin}"}
        record |= {"samples": (samples := len(search))} | accuracy_bounds(retrained.metrics, samples)
        record |= {"pflop": compute.pflop}
        # a kill between the two must not leave these weights under an earlier retraining's thresholds
        if "retrained" in read_pick(run, picked):
            record_pick(run, picked, "retrained", None)
        save_weights(network, model_weights(run, point.id))
        record_pick(run, picked, "retrained", record)
        run.record_pflop(phase, compute.pflop)
        record_spent(run)
        clear_training(session, point.id)
        events.selected_model_changed(point.id)
    return retrained


def train_separately(
    session: RunSession,
    architecture: Architecture,
    spec: RetrainSpec,
    name: str,
    events: RunEvents,
    compute: ComputeMeter | None = None,
) -> Network:
    """Train an architecture as a plain Network; returns it on the CPU in evaluation mode.

    An interrupted training of the same settings resumes from its checkpoint, which stays until `clear_training`.
    `compute` receives the FLOP of the whole training, norm statistics included.
    Raises UserError if the weights to start from are missing or an input-adaptive architecture is to start from others
    than its own.
    """
    experiment, device = session.experiment, training_device()
    folder = session.run.model_folder(name)
    checkpoint, settings = folder / CHECKPOINT, folder / UNFINISHED
    text = spec.model_dump_json(indent=2)
    if not settings.exists() or settings.read_text(encoding="utf-8") != text:
        for stale in (checkpoint, folder / BACKBONE_CHECKPOINT):  # of other settings
            stale.unlink(missing_ok=True)
        write_text(settings, text)
    spec = with_pinned_precision(session.run, spec, device)
    if spec.weights == "kept":
        network = candidate_network(session, architecture, name)
    elif architecture.adaptive:
        raise UserError(
            f"{session.run.folder}: an input-adaptive pick must be retrained from kept weights (--weights kept), "
            f"since its choices are learned with them, but got {spec.weights}"
        )
    elif spec.weights == "supernet":
        network = inherited_network(session, architecture)
    else:
        network = fresh_network(architecture, experiment.seed)
    calibration = session.images.calibration(experiment.evaluate.calibration_images)
    if spec.weights == "scratch":
        set_initial_weights(network, spec, calibration)
    network = add_stop_heads(network, spec.exits).to(device)
    calibration = [x.to(device) for x in calibration]
    trained = fit_network(
        network,
        architecture,
        spec,
        session.images.training_batches(spec.batch_size, include_arch_split=True),
        experiment.seed,
        f"retrain {name}",
        checkpoint,
        session.images.splits.search,
        calibration,
        [x.to(device) for x in session.images.calibration(NORM_IMAGES)],
        TrainingRows((folder / "train_epoch_metrics.csv").resolve(), events, f"retrain-{name}"),
        compute=compute,
    )
    return trained.cpu()


def clear_training(session: RunSession, name: str) -> None:
    """Delete the checkpoints and settings of a finished training."""
    for file in (UNFINISHED, CHECKPOINT, BACKBONE_CHECKPOINT):
        (session.run.model_folder(name) / file).unlink(missing_ok=True)


def _policy(
    session: RunSession,
    network: Network,
    architecture: Architecture,
    point: OperatingPoint,
    compute: ComputeMeter,
) -> ExitPolicy:
    """The policy under the new weights: temperatures fitted on `calibrate`, thresholds too unless they are genes."""
    space, target = session.space.spec, session.experiment.parsed_target()
    images, costs = {CALIBRATE: session.images.splits.calibrate}, session.cost_model
    tables = calibrated_tables(
        network, images, session.images.preprocessing, space.policy, costs, progress=progress_bar
    )
    table = tables[CALIBRATE]
    compute.add(table_flop(table))
    if space.policy.thresholds.optimise is None:
        if target is None or not target.tunes_thresholds:
            return replace(point.policy, temperatures=table.temperatures)
        return found_policies(table, architecture, space, target)[0]
    objectives = session.experiment.parsed_objectives()
    cost, accuracy = tuned_cost(objectives), tuned_accuracy(objectives)
    tuned = Rules.of_space(space, architecture, table, cost, accuracy).find(table)
    return tuned.within(point.metrics[mean_of(cost)]).policy
