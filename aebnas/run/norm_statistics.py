"""Norm statistics of architectures with inherited weights, kept in the run so that later commands need no images.

They are the mean over training images, and lie in `checkpoints/norms/` under the architecture's id and a digest of the
supernet's weights.
"""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from aebnas.core.atomic_files import write_bytes
from aebnas.core.errors import UserError
from aebnas.core.progress import progress_bar
from aebnas.run.session import RunSession
from aebnas.run.training_setup import repeatable, trained_supernet
from aebnas.run.weight_files import weights_digest
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.strategies.front_archive import FrontPoint
from aebnas.supernet.supernet import NormStats, Supernet
from aebnas.training.compute.compute_meter import PETA
from aebnas.training.compute.forward_flop import forward_flop


def inherited_network(session: RunSession, architecture: Architecture) -> Network:
    """An architecture with the weights of the run's supernet; raises UserError if they are missing.

    Images are read only where the run doesn't keep its norm statistics.
    """
    with repeatable(session.experiment):
        supernet = trained_supernet(session)
        return supernet.extract(architecture, _norm_statistics(session, supernet, architecture))


def keep_norm_statistics(session: RunSession, supernet: Supernet | None, points: Sequence[FrontPoint]) -> None:
    """Keep those of all architectures on the front `points`, where they have the supernet's weights."""
    if not points or supernet is None or not session.experiment.scored_weights.inherited:
        return
    architectures = {trial.architecture.id: trial.architecture for trial, _ in points}
    with progress_bar("norm statistics", len(architectures)) as bar:
        for architecture in architectures.values():
            _norm_statistics(session, supernet, architecture)
            bar.advance()
    calibration = session.images.calibration(session.experiment.evaluate.calibration_images)
    flop = sum(forward_flop(lower(architecture), calibration) for architecture in architectures.values())
    session.run.record_pflop("norm statistics", flop / PETA)


def _norm_statistics(session: RunSession, supernet: Supernet, architecture: Architecture) -> NormStats:
    path = _file(session, architecture)
    if path.exists():
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            why = str(error).splitlines()[0]
            raise UserError(f"{path}: cannot be read: {why}; delete it, and it will be written again") from None
    calibration = session.images.calibration(session.experiment.evaluate.calibration_images)
    statistics = supernet.recalibrate(architecture, calibration)
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in statistics.items()}))
    return statistics


def _file(session: RunSession, architecture: Architecture) -> Path:
    digest = weights_digest(session.run.supernet_weights)
    return session.run.checkpoints / "norms" / f"{architecture.id}-{digest}.safetensors"
