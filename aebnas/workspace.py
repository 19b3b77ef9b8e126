"""A run with everything loaded that its verbs work on: experiment, space, pictures, weights, the pick."""

import json
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aebnas.cost.learned_profile import latency_model
from aebnas.cost.model import CostModel
from aebnas.cost.pairs import Profile, load_profile
from aebnas.data.augment import Batches, Preprocessing
from aebnas.data.classes import class_names
from aebnas.data.config import RECIPES
from aebnas.data.splits import Splits, load_splits
from aebnas.determinism import pinned
from aebnas.errors import SpecError, UserError, in_file
from aebnas.evaluate.evaluator import Evaluator, OwnTraining, inherit
from aebnas.evaluate.points import splits_needed
from aebnas.evaluate.relaxed import RelaxedTraining
from aebnas.experiment import ExperimentSpec
from aebnas.files import write_json
from aebnas.front import FrontPoint, front, pick
from aebnas.nn.supernet import Supernet
from aebnas.runtime.decide import ExitPolicy
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.space.lower import lower
from aebnas.space.spec import SpaceSpec
from aebnas.specfile import parse_spec, short
from aebnas.store import Config, Run
from aebnas.train.config import TrainSpecType
from aebnas.train.precision import computing_dtype, dtype_name
from aebnas.train.stop_heads import is_head, with_stop_heads
from aebnas.trial import OperatingPoint
from aebnas.weights import candidate_weights, load_weights, model_weights, weight_names, weights_digest

CALIBRATION_BATCH = 256


@dataclass(frozen=True)
class Workspace:
    """A run, its experiment and its space; pictures and weights are loaded when first needed.

    `base` is where the experiment's relative paths start, `source` the file that errors in it are told of.
    """

    run: Run
    experiment: ExperimentSpec
    space: SearchSpace
    base: Path
    source: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> "Workspace":
        """Everything from the run's own `config.json`; raises UserError when it isn't a run."""
        run = Run.open(folder)
        config, source = run.config(), folder / "config.json"
        experiment = parse_spec(ExperimentSpec, config.get("experiment"), source, "experiment")
        spec = parse_spec(SpaceSpec, config.get("space"), source, "space")
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
            space = parse_spec(SpaceSpec, known.get("space"), "config.json")
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

    @property
    def device(self) -> torch.device:
        """Where networks are trained."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def splits(self) -> Splits:
        """The pictures, cut; raises UserError where they don't fit the space."""
        with in_file(self.source):
            splits = load_splits(self.experiment.data, self.base)
        wanted, got = self.space.spec.input, splits.train.shape
        if got != (wanted.channels, wanted.side, wanted.side):
            rule = f"must fit the pictures of {self.experiment.data.name}, which are {got[0]} x {got[1]} x {got[2]}"
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
        """Batches of `train` for norm statistics, always the same ones, of as many pictures but an incomplete batch.

        They are augmented, since weights fit the statistics of the pictures that they were trained on: those of clean
        ones cost a CIFAR-10 network six points where a crop's black border moves the mean.
        """
        train = self.splits.train
        generator = torch.Generator().manual_seed(self.experiment.seed)
        some = train.subset(torch.randperm(len(train), generator=generator)[:images])
        batches = Batches(some, self.preprocessing, self.experiment.data.effective_augment, CALIBRATION_BATCH)
        return [x_nchw for x_nchw, _ in batches.epoch(generator)]

    def training_batches(self, batch_size: int) -> Batches:
        """Augmented batches of `train`."""
        data = self.experiment.data
        return Batches(self.splits.train, self.preprocessing, data.effective_augment, batch_size, data.loaders)

    def repeatable(self) -> AbstractContextManager[None]:
        """What all of a deterministic run's work is done in; leaves other runs as they are."""
        if not self.experiment.deterministic:
            return nullcontext()
        return pinned(self.experiment.training_threads, deterministic=True)

    def settled(self, training: TrainSpecType, device: torch.device) -> TrainSpecType:
        """With `precision: auto` as it was measured in the first sitting: another may find another one quicker."""
        if training.precision != "auto" or device.type != "cpu":
            return training
        precision = self.run.settled("cpu_precision", lambda: dtype_name(computing_dtype("auto", device)))
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
        spec, policy, training = self.experiment.evaluate, self.space.spec.policy, self.experiment.own_training
        splits = splits_needed(policy, self.experiment.parsed_target())
        gpu = spec.gpus_per_worker > 0
        if training is not None:
            training = self.settled(training, torch.device("cuda" if gpu else "cpu"))
        return Evaluator(
            supernet=supernet,
            training=None
            if training is None
            else OwnTraining(
                training,
                self.training_batches(training.batch_size),
                self.experiment.seed,
                from_scratch=spec.mode == "scratch",
            ),
            calibration=self.calibration(spec.calibration_images),
            images={name: getattr(self.splits, name) for name in splits},
            preprocessing=self.preprocessing,
            criteria=policy.scores,
            costs=self.cost_model,
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
        spec, splits, joint = self.settled(spec, device), self.splits, spec.bilevel == "joint"
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


@dataclass(frozen=True)
class Chosen:
    """A picked point as a network: retrained if it was, else with the weights under which the search scored it.

    `point` are the figures of these weights, under the policy that goes with them, on the search split.
    """

    trial_point: FrontPoint
    network: Network
    point: OperatingPoint
    source: str

    @property
    def policy(self) -> ExitPolicy:
        """When to stop: the search's policy, or the one found after retraining."""
        return self.point.policy

    @property
    def id(self) -> str:
        """The id by which the point was picked; retraining doesn't change it."""
        return self.trial_point[1].id


def load_chosen(workspace: Workspace, rule: str) -> Chosen:
    """The pick's network as it stands now (see `standing`); raises UserError where its weights are lost."""
    picked = workspace.pick(rule)
    architecture, now = picked[0].architecture, standing(workspace, picked)
    evaluate = workspace.experiment.evaluate
    if now.weights == workspace.run.supernet_weights:
        calibration = workspace.calibration(evaluate.calibration_images)
        with workspace.repeatable():
            network = inherit(workspace.trained_supernet(), architecture, calibration)
        return Chosen(picked, network, now.point, now.source)
    require_weights(workspace, picked, now)
    return Chosen(picked, _network_from(now.weights, architecture), now.point, now.source)


def require_weights(workspace: Workspace, picked: FrontPoint, now: "Standing") -> None:
    """Raise UserError where a candidate trained by itself has lost its weights; a search makes a supernet's anew."""
    if now.weights != workspace.run.supernet_weights and not now.weights.exists():
        raise UserError(
            f"{now.weights}: the weights are not there; retrain the point first: aebnas retrain --pick {picked[1].id}"
        )


@dataclass(frozen=True)
class Standing:
    """Where a pick stands: the file with its weights and where they come from, its figures on the search split under
    the policy in force, how `calibrate` found that policy (empty if it didn't), and what it promised about risk."""

    weights: Path
    point: OperatingPoint
    origin: str
    how: str = ""
    promise: dict[str, Any] | None = None

    @property
    def source(self) -> str:
        """Where weights and policy come from, for people; others have another."""
        return f"{self.origin}; {self.how}" if self.how else self.origin


def standing(workspace: Workspace, picked: FrontPoint) -> Standing:
    """A pick with the weights it was retrained to or scored with, and the policy that `calibrate` found for them.

    Without that the policy is the one found after retraining, or the search's.
    """
    trial, point = picked
    run, evaluate = workspace.run, workspace.experiment.evaluate
    retrained = retrained_record(run, point.id)
    if retrained is not None:
        now = Standing(model_weights(run, point.id), OperatingPoint.from_json(retrained), retrained["source"])
    elif evaluate.mode == "supernet":
        now = Standing(run.supernet_weights, point, workspace.experiment.source)
    else:
        now = Standing(candidate_weights(run, trial.architecture.id), point, workspace.experiment.source)
    calibrated = read_pick(run, point.id).get("calibrated")
    if calibrated is None or not now.weights.exists() or calibrated["weights"] != weights_digest(now.weights):
        return now  # found for other weights
    point = OperatingPoint.from_json(calibrated)
    return Standing(now.weights, point, now.origin, calibrated["how"], calibrated["promise"])


def graph_of(workspace: Workspace, picked: FrontPoint) -> Graph:
    """The graph of a pick's network as it stands, stop heads included, without loading it."""
    graph, weights = lower(picked[0].architecture), standing(workspace, picked).weights
    if weights == workspace.run.supernet_weights:
        return graph
    return with_stop_heads(graph) if any(map(is_head, weight_names(weights))) else graph


def kept_network(workspace: Workspace, architecture: Architecture, point_id: str) -> Network:
    """A candidate that was trained by itself, with the weights it was scored with; UserError where they are gone."""
    kept = candidate_weights(workspace.run, architecture.id)
    if not kept.exists():
        raise UserError(f"{kept}: the weights are not there; retrain the point first: aebnas retrain --pick {point_id}")
    return _network_from(kept, architecture)


def _network_from(weights: Path, architecture: Architecture) -> Network:
    graph = lower(architecture)
    network = Network(with_stop_heads(graph) if any(map(is_head, weight_names(weights))) else graph)
    load_weights(network, weights)
    return network.eval()


def read_pick(run: Run, point_id: str) -> dict[str, Any]:
    """What is known of a pick beyond the search: `retrained`, `calibrated`, `test`, `measured`."""
    name = f"picks/{point_id}.json"
    return run.read_json(name) if (run.folder / name).exists() else {}


def known_of_pick(workspace: Workspace, picked: FrontPoint, what: str) -> dict[str, Any] | None:
    """What was noted of a pick (`test`, `measured`) with the weights and policy it has now; None if nothing was."""
    now, known = standing(workspace, picked), read_pick(workspace.run, picked[1].id).get(what, {})
    same = known.get("source") == now.source and known.get("policy") == now.point.policy.to_json()
    return known if same else None


def retrained_record(run: Run, point_id: str) -> dict[str, Any] | None:
    """What is known of a pick's retraining (an operating point and more); None where there was none."""
    # a kill may have left the record or the weights alone
    return read_pick(run, point_id).get("retrained") if model_weights(run, point_id).exists() else None


def note_pick(run: Run, point_id: str, key: str, value: dict[str, Any] | None) -> None:
    """Add to what is known of a pick; None takes it away."""
    with run.noting():
        known = {k: v for k, v in read_pick(run, point_id).items() if k != key}
        write_json(run.folder / "picks" / f"{point_id}.json", known | ({} if value is None else {key: value}))
