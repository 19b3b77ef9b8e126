"""A run with everything loaded that its verbs work on: experiment, space, images, weights, the pick."""

import json
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aebnas.core.determinism import pinned
from aebnas.core.earlier_names import with_present_names
from aebnas.core.errors import SpecError, UserError, in_file
from aebnas.core.spec_base import parse_spec, short
from aebnas.cost.latency.latency_model import latency_model
from aebnas.cost.latency.network_profile import Profile, load_profile
from aebnas.cost.model import CostModel
from aebnas.data.batches import Batches, Preprocessing
from aebnas.data.class_names import class_names
from aebnas.data.data_spec import RECIPES
from aebnas.data.splits import Splits, load_splits
from aebnas.evaluation.darts.relaxed_training import RelaxedTraining
from aebnas.evaluation.evaluator import CandidateTraining, Evaluator
from aebnas.evaluation.operating_points import splits_needed
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.run_directory import Config, Run
from aebnas.run.weight_files import load_weights
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import RENAMED, SpaceSpec
from aebnas.strategies.front import FrontPoint, front, pick
from aebnas.supernet.supernet import Supernet
from aebnas.training.precision import computing_dtype, dtype_name
from aebnas.training.training_spec import TrainSpecType

CALIBRATION_BATCH = 256


@dataclass(frozen=True)
class RunSession:
    """A run, its experiment and its space; images and weights are loaded when first needed.

    `base` is where the experiment's relative paths start, `source` the file that errors in it are told of.
    """

    run: Run
    experiment: ExperimentSpec
    space: SearchSpace
    base: Path
    source: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> "RunSession":
        """Everything from the run's own `config.json`; raises UserError when it isn't a run."""
        run = Run.open(folder)
        config, source = run.config(), folder / "config.json"
        experiment = parse_spec(ExperimentSpec, config.get("experiment"), source, "experiment")
        spec = parse_spec(SpaceSpec, _present(config.get("space")), source, "space")
        with in_file(source, "space"):
            space = SearchSpace(spec)
        base = config.get("base")
        if not isinstance(base, str):
            raise SpecError("base", f"must be a path, but got {short(base)}", source)
        return cls(run, experiment, space, folder / base, source)

    @staticmethod
    def config(
        experiment: ExperimentSpec, space: SearchSpace, base: Path, folder: Path, profile: Profile | None
    ) -> Config:
        """What `config.json` holds: the specs in full, where relative paths start, seen from the run, and which device
        profile, by its digest."""
        relative = Path(os.path.relpath(base.resolve(), folder.resolve())).as_posix()
        space_json = space.spec.model_dump(mode="json")
        config = {"experiment": experiment.to_json(), "space": space_json, "base": relative}
        if profile is not None:
            config["device_profile"] = profile.digest
        return json.loads(json.dumps(config))

    @staticmethod
    def config_in_full(known: Config) -> Config:
        """A `config.json` with the defaults of keys that came after it; as it is where it can't be read."""
        try:
            experiment = parse_spec(ExperimentSpec, known.get("experiment"), "config.json")
            space = parse_spec(SpaceSpec, _present(known.get("space")), "config.json")
        except UserError:
            return known
        return known | {"experiment": experiment.to_json(), "space": space.model_dump(mode="json")}

    @cached_property
    def profile(self) -> Profile | None:
        """The device profile that the run began with, its own copy; raises UserError where it can't be read."""
        return None if self.experiment.device is None else load_profile(self.run.profile_file)

    @cached_property
    def cost_model(self) -> CostModel:
        """What is known of networks' costs without running them."""
        return CostModel(None if self.profile is None else latency_model(self.profile))

    @cached_property
    def candidate_cost_model(self) -> CostModel:
        """The same for candidates of the search, charged with the stop heads that a training of theirs adds."""
        return replace(self.cost_model, stop_heads=self.experiment.ships_stop_heads)

    @property
    def device(self) -> torch.device:
        """Where networks are trained."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def splits(self) -> Splits:
        """The images, cut; raises UserError where they don't fit the space."""
        with in_file(self.source):
            splits = load_splits(self.experiment.data, self.base)
        wanted, got = self.space.spec.input, splits.train.shape
        if got != (wanted.channels, wanted.side, wanted.side):
            rule = f"must fit the images of {self.experiment.data.name}, which are {got[0]} x {got[1]} x {got[2]}"
            value = f"{wanted.channels} x {wanted.side} x {wanted.side}"
            raise SpecError("input", f"{rule}, but got {value}", self.experiment.space)
        if splits.train.classes != self.space.spec.classes:
            rule = f"must be {splits.train.classes}, as in the data, but got {self.space.spec.classes}"
            raise SpecError("classes", rule, self.experiment.space)
        return splits

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Normalisation measured on `train`."""
        return Preprocessing.measure(self.splits.train)

    def calibration(self, images: int) -> list[Tensor]:
        """Batches of `train` for norm statistics, always the same ones, of as many images but an incomplete batch.

        They are augmented, since weights fit the statistics of the images that they were trained on: those of clean
        ones cost a CIFAR-10 network six points where a crop's black border moves the mean.
        """
        train = self.splits.train
        generator = torch.Generator().manual_seed(self.experiment.seed)
        some = train.subset(torch.randperm(len(train), generator=generator)[:images])
        batches = Batches(some, self.preprocessing, self.experiment.data.effective_augment, CALIBRATION_BATCH)
        return [x_nchw for x_nchw, _ in batches.epoch(generator)]

    def training_batches(self, batch_size: int, include_arch_split: bool = False) -> Batches:
        """Augmented batches of `train`, with `include_arch_split` of `arch` as well, whose work is done by then."""
        data, splits = self.experiment.data, self.splits
        images = (
            splits.train.joined(splits.arch) if include_arch_split and self.experiment.trains_relaxed else splits.train
        )
        return Batches(images, self.preprocessing, data.effective_augment, batch_size, data.loaders)

    def repeatable(self) -> AbstractContextManager[None]:
        """What all of a deterministic run's work is done in; leaves other runs as they are."""
        if not self.experiment.deterministic:
            return nullcontext()
        return pinned(self.experiment.training_threads, deterministic=True)

    def with_pinned_precision(self, training: TrainSpecType, device: torch.device) -> TrainSpecType:
        """With `precision: auto` as it was measured in the first sitting: another may find another one quicker."""
        if training.precision != "auto" or device.type != "cpu":
            return training
        precision = self.run.remember_once("cpu_precision", lambda: dtype_name(computing_dtype("auto", device)))
        return training.model_copy(update={"precision": precision})

    def new_supernet(self) -> Supernet:
        """Freshly drawn weights."""
        return Supernet(self.space.spec, torch.Generator().manual_seed(self.experiment.seed))

    def trained_supernet(self) -> Supernet:
        """The run's trained weights; raises UserError when they aren't there or don't fit."""
        if not self.experiment.trains_supernet:
            mode = self.experiment.evaluate.weights
            raise UserError(
                f"{self.run.folder}: has no supernet, since evaluate.weights is {mode}; retrain from scratch"
            )
        supernet = self.new_supernet()
        load_weights(supernet, self.run.supernet_weights)
        return supernet

    def evaluator(self, supernet: Supernet | None) -> Evaluator:
        """What scores candidates; `supernet` is None where none is trained."""
        spec, policy, training = self.experiment.evaluate, self.space.spec.policy, self.experiment.candidate_training
        splits = splits_needed(policy, self.experiment.parsed_target())
        gpu = spec.gpus_per_worker > 0
        if training is not None:
            training = self.with_pinned_precision(training, torch.device("cuda" if gpu else "cpu"))
        return Evaluator(
            supernet=supernet,
            training=None
            if training is None
            else CandidateTraining(
                training,
                self.training_batches(training.batch_size, include_arch_split=True),
                self.experiment.seed,
                from_scratch=spec.mode == "scratch",
            ),
            calibration=self.calibration(spec.calibration_images),
            images={name: getattr(self.splits, name) for name in splits},
            preprocessing=self.preprocessing,
            criteria=policy.scores,
            costs=self.candidate_cost_model,
            threads=spec.threads,
            gpu=gpu,
            deterministic=self.experiment.deterministic,
            relaxed=self._relaxed_training(torch.device("cuda" if gpu else "cpu")),
        )

    def _relaxed_training(self, device: torch.device) -> RelaxedTraining | None:
        """How relaxed networks are trained, where the strategy does that."""
        experiment, spec = self.experiment, self.experiment.relaxed
        if spec is None or not experiment.trains_relaxed:
            return None
        spec, splits, joint = self.with_pinned_precision(spec, device), self.splits, spec.bilevel == "joint"
        batch_size = spec.arch_batch_size or spec.batch_size
        return RelaxedTraining(
            spec=spec,
            space=self.space.spec,
            forms=experiment.strategy.forms,
            batches=self.training_batches(spec.batch_size),
            arch=None if joint else Batches(splits.arch, self.preprocessing, RECIPES["none"], batch_size),
            choosing=splits.train if joint else splits.arch,
            validation=splits.search,
            profile=self.profile,
            seed=experiment.seed,
            folder=self.run.relaxed.resolve(),
        )

    def front(self) -> list[FrontPoint]:
        """The front of the trials so far."""
        return front(self.run.trials(), self.experiment.parsed_objectives(), self.experiment.parsed_constraints())

    def pick(self, rule: str) -> FrontPoint:
        """One point of the front; see `front.pick`."""
        return pick(self.front(), self.experiment.parsed_objectives(), rule)

    def class_names(self) -> list[str]:
        """Names of the classes, or their numbers where the spec gives none."""
        names = class_names(self.experiment.data, self.base)
        if names is None:
            return [str(number) for number in range(self.space.spec.classes)]
        return list(names)


def _present(space: Any) -> Any:
    """A space's JSON with the names that its fields have now."""
    return with_present_names(space, RENAMED)
