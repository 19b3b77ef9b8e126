"""The evaluator of a search's candidates, built from a run."""

import torch

from aebnas.data.batches import Batches
from aebnas.data.data_spec import AUGMENTATIONS
from aebnas.data.splits import CALIBRATE, SEARCH
from aebnas.evaluation.darts.relaxed_training import RelaxedTraining
from aebnas.evaluation.evaluator import CandidateTraining, Evaluator
from aebnas.run.session import RunSession
from aebnas.run.training_setup import with_pinned_precision
from aebnas.supernet.supernet import Supernet


def candidate_evaluator(session: RunSession, supernet: Supernet | None) -> Evaluator:
    """The evaluator of a run's candidates; `supernet` is None if the run trains none."""
    experiment, images, policy = session.experiment, session.images, session.space.spec.policy
    spec, training = experiment.evaluate, experiment.candidate_training
    gpu = spec.gpus_per_worker > 0
    device = torch.device("cuda" if gpu else "cpu")
    if training is not None:
        training = with_pinned_precision(session.run, training, device)
    return Evaluator(
        supernet=supernet,
        training=None
        if training is None
        else CandidateTraining(
            training,
            images.training_batches(training.batch_size, include_arch_split=True),
            experiment.seed,
            from_scratch=spec.mode == "scratch",
        ),
        calibration=images.calibration(spec.calibration_images),
        images={name: getattr(images.splits, name) for name in (CALIBRATE, SEARCH)},
        preprocessing=images.preprocessing,
        policy=policy,
        costs=session.candidate_cost_model,
        threads=spec.threads,
        gpu=gpu,
        deterministic=experiment.deterministic,
        relaxed=_relaxed_training(session, device),
    )


def _relaxed_training(session: RunSession, device: torch.device) -> RelaxedTraining | None:
    """How relaxed networks are trained; None if the strategy trains none."""
    experiment, spec, images = session.experiment, session.experiment.relaxed, session.images
    if spec is None or not experiment.trains_relaxed:
        return None
    spec, splits, joint = with_pinned_precision(session.run, spec, device), images.splits, spec.bilevel == "joint"
    batches = images.training_batches(spec.batch_size)
    batch_size = spec.arch_batch_size or batches.batch_size
    return RelaxedTraining(
        spec=spec,
        space=session.space.spec,
        forms=experiment.strategy.forms,
        batches=batches,
        arch=None
        if joint
        else Batches(
            splits.arch, images.preprocessing, AUGMENTATIONS["none"], batch_size, balanced=images.samples_balanced
        ),
        choosing=splits.train if joint else splits.arch,
        validation=splits.search,
        profile=session.profile,
        seed=experiment.seed,
        folder=session.run.relaxed.resolve(),
    )
