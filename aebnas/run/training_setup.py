"""Settings that all training in a run shares: device, precision, determinism, and the supernet."""

from contextlib import AbstractContextManager, nullcontext

import torch

from aebnas.core.determinism import pinned
from aebnas.core.errors import UserError
from aebnas.core.spec_base import updated
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.weight_files import load_weights
from aebnas.supernet.supernet import Supernet
from aebnas.training.precision import computing_dtype, dtype_name
from aebnas.training.training_spec import TrainSpecType


def training_device() -> torch.device:
    """The device that networks are trained on: CUDA if available, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def repeatable(experiment: ExperimentSpec) -> AbstractContextManager[None]:
    """A context manager for all work of a deterministic run; does nothing for other runs."""
    if not experiment.deterministic:
        return nullcontext()
    return pinned(experiment.training_threads, deterministic=True)


def with_pinned_precision(run: Run, training: TrainSpecType, device: torch.device) -> TrainSpecType:
    """`training` with `precision: auto` replaced by the precision measured as fastest in the first session of the run,
    since a later session may measure another one."""
    if training.precision != "auto" or device.type != "cpu":
        return training
    precision = run.remember_once("cpu_precision", lambda: dtype_name(computing_dtype("auto", device)))
    return updated(training, {"precision": precision})


def new_supernet(session: RunSession) -> Supernet:
    """A supernet with newly initialised weights."""
    return Supernet(session.space.spec, torch.Generator().manual_seed(session.experiment.seed))


def trained_supernet(session: RunSession) -> Supernet:
    """The supernet with the run's trained weights; raises UserError if they are missing or don't fit."""
    if not session.experiment.trains_supernet:
        mode = session.experiment.evaluate.weights
        raise UserError(
            f"{session.run.folder}: has no supernet, since evaluate.weights is {mode}; retrain from scratch"
        )
    supernet = new_supernet(session)
    load_weights(supernet, session.run.supernet_weights)
    return supernet
