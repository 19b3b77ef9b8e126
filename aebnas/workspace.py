"""A run with everything loaded that its verbs work on: experiment, space, pictures, weights, the pick."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from aebnas.data.augment import Batches, Preprocessing
from aebnas.data.datasets import class_names
from aebnas.data.splits import Splits, load_splits
from aebnas.errors import UserError
from aebnas.evaluate.evaluator import Evaluator, OwnTraining, inherit
from aebnas.evaluate.points import splits_needed
from aebnas.experiment import ExperimentSpec
from aebnas.files import write_atomically, write_json
from aebnas.front import FrontPoint, front, pick
from aebnas.nn.supernet import Supernet
from aebnas.runtime.decide import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.space.lower import lower
from aebnas.space.spec import SpaceSpec
from aebnas.specfile import parse_spec
from aebnas.store import Run

CALIBRATION_BATCH = 256


@dataclass(frozen=True)
class Workspace:
    """A run, its experiment and its space; pictures and weights are loaded when first needed."""

    run: Run
    experiment: ExperimentSpec
    space: SearchSpace
    base: Path

    @classmethod
    def open(cls, folder: Path) -> "Workspace":
        """Everything from the run's own `config.json`; raises UserError when it isn't a run."""
        run = Run.open(folder)
        config = run.config()
        source = str(folder / "config.json")
        experiment = parse_spec(ExperimentSpec, config.get("experiment"), source)
        space = SearchSpace(parse_spec(SpaceSpec, config.get("space"), source))
        return cls(run, experiment, space, folder / config.get("base", "."))

    @staticmethod
    def config(experiment: ExperimentSpec, space: SearchSpace, base: Path, folder: Path) -> dict[str, Any]:
        """What `config.json` holds: the specs in full, and where relative paths start, seen from the run."""
        relative = Path(os.path.relpath(base.resolve(), folder.resolve())).as_posix()
        space_json = space.spec.model_dump(mode="json")
        return json.loads(json.dumps({"experiment": experiment.to_json(), "space": space_json, "base": relative}))

    @property
    def device(self) -> torch.device:
        """Where networks are trained."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def splits(self) -> Splits:
        """The pictures, cut; raises UserError where they don't fit the space."""
        splits = load_splits(self.experiment.data, self.base)
        wanted, got = self.space.spec.input, splits.train.shape
        if got != (wanted.channels, wanted.side, wanted.side):
            raise UserError(
                f"{self.experiment.space}: input must fit the pictures of {self.experiment.data.name}, which are "
                f"{got[0]} x {got[1]} x {got[2]}, but got {wanted.channels} x {wanted.side} x {wanted.side}"
            )
        if splits.train.classes != self.space.spec.classes:
            raise UserError(
                f"{self.experiment.space}: classes must be {splits.train.classes}, as in the data, "
                f"but got {self.space.spec.classes}"
            )
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
        return Evaluator(
            supernet=supernet,
            training=None
            if training is None
            else OwnTraining(training, self.training_batches(training.batch_size), self.experiment.seed),
            calibration=self.calibration(spec.calibration_images),
            images={name: getattr(self.splits, name) for name in splits},
            preprocessing=self.preprocessing,
            criteria=policy.criterion,
            threads=spec.threads,
            gpu=spec.gpus_per_worker > 0,
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
        if len(names) != self.space.spec.classes:
            raise UserError(f"data.class_names: must be {self.space.spec.classes} names, but got {len(names)}")
        return list(names)


@dataclass(frozen=True)
class Chosen:
    """A picked point as a network: retrained if it was, else with the weights under which the search scored it."""

    trial_point: FrontPoint
    network: Network
    policy: ExitPolicy
    source: str

    @property
    def id(self) -> str:
        """The id by which the point was picked; retraining doesn't change it."""
        return self.trial_point[1].id


def load_chosen(workspace: Workspace, rule: str) -> Chosen:
    """The pick's network: retrained, with the policy found then, if it was; else as the search scored it.

    Raises UserError where a candidate trained by itself has lost its weights.
    """
    picked = workspace.pick(rule)
    trial, point = picked
    architecture, evaluate = trial.architecture, workspace.experiment.evaluate
    weights = model_weights(workspace.run, point.id)
    retrained = read_pick(workspace.run, point.id).get("retrained")
    if retrained is not None and weights.exists():  # a kill may have left one of the two
        network = _network_from(weights, architecture)
        return Chosen(picked, network, ExitPolicy.from_json(retrained["policy"]), retrained["source"])
    if evaluate.mode == "supernet":
        calibration = workspace.calibration(evaluate.calibration_images)
        network = inherit(workspace.trained_supernet(), architecture, calibration)
        return Chosen(picked, network, point.policy, evaluate.source)
    kept = candidate_weights(workspace.run, architecture.id)
    if not kept.exists():
        raise UserError(f"{kept}: the weights are not there; retrain the point first: aebnas retrain --pick {point.id}")
    return Chosen(picked, _network_from(kept, architecture), point.policy, evaluate.source)


def _network_from(weights: Path, architecture: Architecture) -> Network:
    network = Network(lower(architecture))
    load_weights(network, weights)
    return network.eval()


def model_weights(run: Run, point_id: str) -> Path:
    """Where the retrained weights of a pick lie."""
    return run.folder / "models" / point_id / "weights.safetensors"


def candidate_weights(run: Run, architecture_id: str) -> Path:
    """Where the weights of a candidate that was trained by itself lie, while it is on the front."""
    return run.folder / "models" / f"{architecture_id}.safetensors"


def keep_candidates(run: Run, architecture_ids: Collection[str]) -> list[str]:
    """Delete the weights of all candidates but these; returns the ids of those deleted."""
    surplus = [path for path in (run.folder / "models").glob("*.safetensors") if path.stem not in architecture_ids]
    for path in surplus:
        path.unlink()
    return [path.stem for path in surplus]


def read_pick(run: Run, point_id: str) -> dict[str, Any]:
    """What is known of a pick beyond the search: `retrained`, `test`."""
    name = f"picks/{point_id}.json"
    return run.read_json(name) if (run.folder / name).exists() else {}


def note_pick(run: Run, point_id: str, key: str, value: dict[str, Any]) -> None:
    """Add to what is known of a pick."""
    write_json(run.folder / "picks" / f"{point_id}.json", read_pick(run, point_id) | {key: value})


def save_weights(module: torch.nn.Module, path: Path) -> None:
    """Write a module's weights and norm statistics as safetensors."""
    state = {k: v.contiguous().cpu() for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    write_atomically(path, lambda partial: save_file(state, partial))


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote; raises UserError when it isn't there or doesn't fit."""
    if not path.exists():
        raise UserError(f"{path}: the weights are not there; give the search command again to make them")
    try:
        missing, surplus = module.load_state_dict(load_file(path), strict=False)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be read as weights: {str(error).splitlines()[0]}") from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or surplus:
        raise UserError(f"{path}: weights must fit the network, but {(missing or surplus)[0]} doesn't")
