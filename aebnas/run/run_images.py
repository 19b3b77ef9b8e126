"""The images of a run as training and scoring read them: divided into splits, normalised, in batches."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from aebnas.core.errors import in_file
from aebnas.data.batches import Batches, Preprocessing
from aebnas.data.class_names import named_classes
from aebnas.data.data_shape import DataShape
from aebnas.data.folder_walk import left_out_text
from aebnas.data.splits import CUT, Splits, load_splits
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.space_file import check_fits
from aebnas.space.spec import SpaceSpec

CALIBRATION_BATCH = 256
CLASSES_NAMED = 4
"""In a note."""


@dataclass(frozen=True)
class RunImages:
    """Loaded when first needed. `base` is where the experiment's relative paths start, `source` the file that errors
    in it are reported for."""

    experiment: ExperimentSpec
    space: SpaceSpec
    base: Path
    source: Path | None = None

    @cached_property
    def splits(self) -> Splits:
        """The splits; raises UserError if images are missing or don't fit the space."""
        with in_file(self.source):
            splits = load_splits(self.experiment.data, self.base)
        shape = DataShape(splits.train.shape, splits.train.classes)
        check_fits(self.space, self.experiment.data, shape, self.experiment.space)
        return splits

    def notes(self) -> list[str]:
        """What whoever searches on these images should know of them, a line each."""
        left_out = left_out_text(self.splits.left_out)
        notes = [f"not all of the data's files are read as images{left_out}"] if left_out else []
        for split, missing in self.missing_classes().items():
            first = ", ".join(missing[:CLASSES_NAMED]) + (", ..." if len(missing) > CLASSES_NAMED else "")
            notes.append(
                f"{split} has no image of {len(missing)} of {self.space.classes} classes, too small to be cut ({first})"
            )
        return notes

    def missing_classes(self) -> dict[str, list[str]]:
        """By split the names of the classes of which it has no image; splits that have all, or no images, aren't
        there.
        """
        names = named_classes(self.experiment.data, self.base, self.space.classes)
        missing = {split: [names[label] for label in self.splits.missing_classes(split)] for split in CUT}
        return {split: labels for split, labels in missing.items() if labels}

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """Normalisation measured on `train`."""
        return Preprocessing.measure(self.splits.train)

    def calibration(self, images: int) -> list[Tensor]:
        """Batches `x_nchw` of `train` for norm statistics, the same on every call; an incomplete batch is dropped.

        They are augmented like the images that the weights were trained on. With statistics of clean images a CIFAR-10
        network lost six points of accuracy, since the black border of random crops shifts the mean.
        """
        train = self.splits.train
        generator = torch.Generator().manual_seed(self.experiment.seed)
        some = train.subset(torch.randperm(len(train), generator=generator)[:images])
        batches = Batches(some, self.preprocessing, self.experiment.data.effective_augment, CALIBRATION_BATCH)
        return [x_nchw for x_nchw, _ in batches.epoch(generator)]

    def training_batches(self, batch_size: int, include_arch_split: bool = False) -> Batches:
        """Augmented batches of `train`. `include_arch_split` adds `arch` in runs of a differentiable strategy, which
        doesn't need that split after its architecture parameters are trained."""
        data, splits = self.experiment.data, self.splits
        joined = include_arch_split and self.experiment.trains_relaxed
        images = splits.train.joined(splits.arch) if joined else splits.train
        return Batches(images, self.preprocessing, data.effective_augment, batch_size, data.loaders)
