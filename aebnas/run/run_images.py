"""The images of a run as training and scoring read them: divided into splits, normalised, in batches."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from aebnas.core.errors import UserError, in_file
from aebnas.core.progress import progress_bar
from aebnas.data.batches import Batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.class_balance import balanced_order, balanced_weights, scaled_weights
from aebnas.data.class_names import class_numbers, location, named_classes
from aebnas.data.data_shape import DataShape
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test
from aebnas.data.fingerprint import file_table, fingerprint
from aebnas.data.image_files.folder_walk import left_out_text
from aebnas.data.image_files.unreadable_files import UNREADABLE
from aebnas.data.image_set import ImageSet
from aebnas.data.loader_workers import read_all
from aebnas.data.splits import CUT, Splits, load_splits
from aebnas.run.data_check import TEST, DataCheck, names_root
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.space_file import check_fits
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.space.spec import SpaceSpec
from aebnas.training.recipes.batch_size import resolved_batch_size

CALIBRATION_BATCH = 256
CLASSES_NAMED = 4
"""In a note."""


@dataclass(frozen=True)
class RunImages:
    """Loaded when first needed. `data` says where they lie, `base` where its relative paths start, `source` which file
    errors are reported for. With `check` they are compared with those that the run was started with, and read into the
    same splits.
    """

    experiment: ExperimentSpec
    data: DataSpec
    space: SpaceSpec
    base: Path
    source: Path | str | None = None
    check: DataCheck | None = None

    @cached_property
    def splits(self) -> Splits:
        """The splits; raises UserError if images are missing, don't fit the space or have changed."""
        with in_file(self.source):
            self._check_classes()
            splits = load_splits(self.data, self.base, None if self.check is None else self.check.divide)
        shape = DataShape(splits.train.shape, splits.train.classes)
        check_fits(self.space, self.data, shape, self.experiment.space)
        return splits

    def notes(self) -> list[str]:
        """What whoever searches on these images should know of them, a line each."""
        notes = [*self.splits.notes]
        if left_out := left_out_text(self.left_out):
            notes.append(f"not all of the data's files are read as images{left_out}")
        for split, missing in self.missing_classes().items():
            first = ", ".join(missing[:CLASSES_NAMED]) + (", ..." if len(missing) > CLASSES_NAMED else "")
            notes.append(
                f"{split} has no image of {len(missing)} of {self.space.classes} classes, too small to be cut ({first})"
            )
        return notes

    @property
    def left_out(self) -> dict[str, int]:
        """By reason the number of entries and files of the data that aren't read as images, in either part."""
        tested = self.test.left_out if self.data.unreadable == "leave_out" else {}
        unreadable = {reason: count for reason, count in tested.items() if reason.startswith(UNREADABLE[TEST])}
        return {**self.splits.left_out, **unreadable}  # of the test part, what its names show is in there

    def missing_classes(self) -> dict[str, list[str]]:
        """By split the names of the classes of which it has no image; splits that have all, or no images, aren't
        there.
        """
        names = named_classes(self.data, self.base, self.space.classes)
        missing = {split: [names[label] for label in self.splits.missing_classes(split)] for split in CUT}
        return {split: labels for split, labels in missing.items() if labels}

    @cached_property
    def test(self) -> ImageSet:
        """The test set; raises UserError if it is missing or its classes have changed."""
        with in_file(self.source):
            self._check_classes()
            return load_test(self.data, self.base)

    def verify_test(self) -> None:
        """Read all test images once, where they are files that would fit in memory, and forget them; raises UserError
        for one that can't be read, as `evaluate` would after a long search."""
        test = self.test if self.data.in_files and self.data.unreadable == "refuse" else None
        if test is None or len(test) * math.prod(test.shape) > self.data.memory_limit_bytes:
            return
        with progress_bar("verifying test images", len(test)) as bar:
            for _, pixels in read_all(test.source.read, len(test), self.data.loaders, math.prod(test.shape)):
                bar.advance(len(pixels))

    @cached_property
    def test_fingerprint(self) -> tuple[str, str]:
        """The fingerprint of the test set, and how it differs from that at the run's start; see `DataCheck`."""
        if self.check is not None:
            return self.check.test_fingerprint(self.test)
        return fingerprint(self.test, file_table(self.test, names_root(location(self.data, self.base)))), ""

    def _check_classes(self) -> None:
        if self.check is not None:
            place = self.check.place
            if place is not None and not place.exists():
                raise UserError(f"{place}: must hold the run's images, but isn't there; --data says where they are")
            self.check.check_classes(named_classes(self.data, self.base, self.space.classes))

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How images are read, and normalisation measured on `train`; as at the run's start if that is recorded."""
        record = None if self.check is None else self.check.record
        if record is not None:
            return record.preprocessing
        train = self.splits.train
        return measure_preprocessing(train, self.data.reader(train.shape))

    def calibration(self, images: int) -> list[Tensor]:
        """Batches `x_nchw` of `train` for norm statistics, the same on every call; an incomplete batch is dropped.

        They are drawn and augmented like the images that the weights were trained on. With statistics of clean images a
        CIFAR-10 network lost six points of accuracy, since the black border of random crops shifts the mean.
        """
        train = self.splits.train
        generator = torch.Generator().manual_seed(self.experiment.seed)
        if self.samples_balanced:
            order = balanced_order(train.labels, min(images, len(train)), generator)
        else:
            order = torch.randperm(len(train), generator=generator)[:images]
        some = train.subset(order)
        batches = Batches(some, self.preprocessing, self.data.effective_augment, CALIBRATION_BATCH)
        return [x_nchw for x_nchw, _ in batches.epoch(generator)]

    def training_batches(
        self, batch_size: int | Literal["auto"], include_arch_split: bool = False, workers: int = 1
    ) -> Batches:
        """Augmented batches of `train`, which `workers` share.

        `include_arch_split` adds `arch` in runs of a differentiable strategy, which doesn't need that split after its
        architecture parameters are trained.
        """
        data, splits = self.data, self.splits
        joined = include_arch_split and self.experiment.trains_relaxed
        images = splits.train.joined(splits.arch) if joined else splits.train
        _, height, width = images.shape
        return Batches(
            images,
            self.preprocessing,
            data.effective_augment,
            resolved_batch_size(batch_size, len(images), height, width, workers),
            data.loaders,
            self.samples_balanced,
            self._class_weights(images),
        )

    @property
    def samples_balanced(self) -> bool:
        """Whether training images are drawn so that classes are equally frequent."""
        return self.experiment.classes.sampling == "balanced"

    def _class_weights(self, images: ImageSet) -> Tensor | None:
        """The weights of classes in the loss of a training on these images; None for equal ones."""
        weights = self.experiment.classes.weights
        if weights == "none":
            return None
        if weights == "balanced":
            return balanced_weights(images.labels, images.classes)
        names = named_classes(self.data, self.base, images.classes)
        return scaled_weights(images.labels, images.classes, class_numbers(weights, names))
