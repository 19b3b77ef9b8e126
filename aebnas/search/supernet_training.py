"""The supernet of a search."""

from aebnas.run.events import RunEvents, TrainingRows
from aebnas.run.session import RunSession
from aebnas.run.training_setup import new_supernet, training_device, with_pinned_precision
from aebnas.run.weight_files import load_weights, save_weights
from aebnas.supernet.supernet import Supernet
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.distributed import fit_on_workers
from aebnas.training.loop import fit
from aebnas.training.recipes.initial_weights import set_initial_weights
from aebnas.training.sandwich import SandwichTask
from aebnas.training.training_spec import SupernetSpec


def load_or_train(session: RunSession, spec: SupernetSpec, events: RunEvents) -> Supernet:
    """The trained supernet: loaded if its weights exist, else trained, resuming from its checkpoint."""
    run, experiment = session.run, session.experiment
    supernet, checkpoint = new_supernet(session), run.checkpoints / "supernet.pt"
    if run.supernet_weights.exists():
        load_weights(supernet, run.supernet_weights)
        if "supernet" not in run.pflop():  # an earlier version trained it
            run.record_pflop("supernet", None)
        checkpoint.unlink(missing_ok=True)  # a kill may have left it beside the weights
        return supernet
    images = session.images
    calibration = images.calibration(experiment.evaluate.calibration_images)
    batches = images.training_batches(spec.batch_size, workers=max(1, spec.workers))
    set_initial_weights(supernet, spec, calibration)
    task = SandwichTask(
        supernet,
        session.space,
        spec,
        images.splits.search,
        images.preprocessing,
        calibration,
        batches.class_weights,
    )
    seed, ray = experiment.seed, experiment.ray
    on_rows = TrainingRows((run.folder / "train_epoch_metrics.csv").resolve(), events, "supernet")
    compute = ComputeMeter()
    if spec.workers > 1:
        trained = fit_on_workers(task, batches, spec, seed, "supernet", checkpoint, on_rows, ray, compute)
    else:
        task.module.to(training_device())
        spec = with_pinned_precision(session.run, spec, training_device())
        trained = fit(task, batches, spec, seed, "supernet", checkpoint, on_rows, compute=compute)
    run.record_pflop("supernet", compute.pflop)  # before the weights: with them the training isn't looked at again
    save_weights(trained, run.supernet_weights)
    supernet = new_supernet(session)  # candidates are scored on the CPU, with the weights on disk
    load_weights(supernet, run.supernet_weights)
    checkpoint.unlink()
    return supernet
