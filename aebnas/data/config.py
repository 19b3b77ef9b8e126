"""What the `data:` part of an experiment may say. Imports no torch, so that reading a spec stays quick."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from aebnas.specfile import Spec


def _size(value: object, least: int) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= least
    is_fraction = isinstance(value, float) and 0 < value < 1
    if not (is_count or is_fraction):
        raise ValueError(f"must be a fraction above 0 and below 1, or a whole number of at least {least}")
    return value


Size = Annotated[int | float, BeforeValidator(partial(_size, least=1))]
"""A fraction of the official training part (float in (0, 1)) or a count of pictures (int >= 1)."""
OptionalSize = Annotated[int | float, BeforeValidator(partial(_size, least=0))]
"""A `Size`, or the whole number 0 for a split that isn't cut."""


class SplitSpec(Spec):
    """Sizes of the splits cut from the official training part; what is left is `train`.

    `arch` is for architecture parameters, `search` scores candidates, `calibrate` finds temperatures and
    thresholds, `certify` is touched by the risk promise alone.
    """

    seed: int = Field(2026, ge=0)
    arch: OptionalSize = 0
    search: Size = 0.10
    calibrate: Size = 0.05
    certify: OptionalSize = 0.05

    @model_validator(mode="after")
    def _leave_something_for_train(self) -> "SplitSpec":
        sizes = (self.arch, self.search, self.calibrate, self.certify)
        if sum(size for size in sizes if isinstance(size, float)) >= 1:
            raise ValueError(f"the fractions (arch, search, calibrate, certify = {sizes}) must sum to less than 1")
        return self


class AugmentSpec(Spec):
    """Augmentation in training: random crop after `crop` pixels of zero padding, left-right `flip`."""

    crop: int = Field(0, ge=0)
    flip: bool = False


USUAL_AUGMENT = {
    "digits": AugmentSpec(crop=1),
    "npz": AugmentSpec(),
    "cifar10": AugmentSpec(crop=4, flip=True),
}


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class DataSpec(Spec):
    """Which labelled image set, where it lies, how it is augmented and split.

    `path` (npz) and `root` (cifar10, "data" if absent) may be relative to the folder of the YAML file.
    `class_names` are for people; numbers stand in for them where there are none.
    """

    name: Literal["digits", "npz", "cifar10"]
    path: Path | None = Field(None, validate_default=True)
    root: Path | None = None
    augment: AugmentSpec | None = None
    class_names: tuple[str, ...] | None = None
    splits: SplitSpec = SplitSpec()

    @field_validator("path")
    @classmethod
    def _path_is_for_npz(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        name = info.data.get("name")
        if name == "npz" and path is None:
            raise ValueError("must name the array file when 'name' is npz")
        if name in ("digits", "cifar10") and path is not None:
            raise ValueError(f"must be absent when 'name' is {name} (it is for npz)")
        return path

    @field_validator("root")
    @classmethod
    def _root_is_for_cifar10(cls, root: Path | None, info: ValidationInfo) -> Path | None:
        name = info.data.get("name")
        if name in ("digits", "npz") and root is not None:
            raise ValueError(f"must be absent when 'name' is {name} (it is for cifar10)")
        return root

    @property
    def effective_augment(self) -> AugmentSpec:
        """The augmentation asked for, or the usual one of the data set where none is."""
        return USUAL_AUGMENT[self.name] if self.augment is None else self.augment

    @property
    def effective_class_names(self) -> tuple[str, ...] | None:
        """The names given, or those of a data set that has its own."""
        return CIFAR10_CLASSES if self.class_names is None and self.name == "cifar10" else self.class_names
