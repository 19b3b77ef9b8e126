"""What the `data:` part of an experiment may say. Imports no torch, so that reading a spec stays quick."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from aebnas.core.spec_base import Spec, updated
from aebnas.core.spec_types import Processes, Seed, Side, UserPath


def _size(value: object, least: int) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= least
    is_fraction = isinstance(value, float) and 0 < value < 1
    if not (is_count or is_fraction):
        raise ValueError(f"must be a fraction above 0 and below 1, or a whole number of at least {least}")
    return value


Size = Annotated[int | float, BeforeValidator(partial(_size, least=1))]
"""A fraction of the official training part (float in (0, 1)) or a count of images (int >= 1)."""
OptionalSize = Annotated[int | float, BeforeValidator(partial(_size, least=0))]
"""A `Size`, or the whole number 0 for a split that isn't cut."""


class SplitSpec(Spec):
    """Sizes of the splits cut from the official training part; what is left is `train`.

    `arch` is for architecture parameters, `search` scores candidates, `calibrate` finds temperatures and
    thresholds, `certify` is touched by the risk promise alone.
    """

    seed: Seed = 2026
    arch: OptionalSize = 0
    search: Size = 0.10
    calibrate: Size = 0.05
    certify: OptionalSize = 0.05

    @model_validator(mode="after")
    def _leave_something_for_train(self) -> "SplitSpec":
        sizes = (self.arch, self.search, self.calibrate, self.certify)
        if sum(size for size in sizes if isinstance(size, float)) >= 1:
            raise ValueError(
                f"must leave something for train, but got the fractions {sizes} (arch, search, calibrate, certify)"
            )
        return self


class AugmentSpec(Spec):
    """Augmentation in training, in this order; what is absent is off.

    `crop`: random crop after that many pixels of zero padding. `flip`: left-right with probability 1/2, or
    `alternate`: a random half in the first epoch, then always the other half than the epoch before (Jordan 2024).
    `trivial_augment`: one random operation of random strength an image (Müller & Hutter 2021). `cutout`: a square
    of that many pixels is blanked (DeVries & Taylor 2017). `mixup`: the alpha of Zhang et al. 2018; labels become
    mixtures.
    """

    crop: int = Field(0, strict=True, ge=0)
    flip: Literal[True, False, "alternate"] = False
    trivial_augment: bool = False
    cutout: int = Field(0, strict=True, ge=0)
    mixup: float = Field(0, strict=True, ge=0)


_CROP_FLIP = AugmentSpec(crop=4, flip=True)
RECIPES = {
    "none": AugmentSpec(),
    "crop_flip": _CROP_FLIP,
    "cutout": updated(_CROP_FLIP, {"cutout": 8}),
    "trivial_augment": updated(_CROP_FLIP, {"trivial_augment": True}),
    "mixup": updated(_CROP_FLIP, {"mixup": 0.2}),
}
"""Augmentation by name, for images of about 32 pixels; each but `none` is `crop_flip` and what it is called."""

USUAL_AUGMENT = {
    "digits": AugmentSpec(crop=1),
    "npz": RECIPES["none"],
    "folder": RECIPES["none"],
    "cifar10": RECIPES["crop_flip"],
    "cifar100": RECIPES["crop_flip"],
    "svhn": AugmentSpec(crop=4),
    "mnist": AugmentSpec(crop=2),
    "fashion_mnist": AugmentSpec(crop=2, flip=True),
}


def _recipe(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in RECIPES:
        raise ValueError(f"must be a mapping or one of {', '.join(RECIPES)}")
    return RECIPES[value]


Augment = Annotated[AugmentSpec, BeforeValidator(_recipe, json_schema_input_type=Literal[*RECIPES] | AugmentSpec)]
"""An `AugmentSpec`, or the name of one in `RECIPES`."""

TORCHVISION = ("cifar10", "cifar100", "svhn", "mnist", "fashion_mnist")
ONLY_FOR = {
    "path": ("npz", "folder"),
    "root": TORCHVISION,
    "resolution": ("folder",),
    "channels": ("folder",),
    "memory": ("folder",),
    "memory_limit_bytes": ("folder",),
}


class DataSpec(Spec):
    """Which labelled image set, where it lies, how it is augmented and split.

    `path` (the file of `npz`, the folder of `folder`) and `root` (of torchvision's sets, "data" if absent) may be
    relative to the folder of the YAML file. `class_names` are for people; a folder's names, or numbers, stand in
    for them where there are none. `loaders` processes prepare training batches; 0 prepares them in this one.

    Of `folder` alone: images are brought to `resolution` pixels a side and to `channels` (3 RGB, 1 grey). They are
    held in memory if `memory` is `always`, or if it is `auto` and they take at most `memory_limit_bytes`; else they
    are streamed: read anew whenever they are needed.
    """

    name: Literal["digits", "npz", "folder", "cifar10", "cifar100", "svhn", "mnist", "fashion_mnist"]
    path: UserPath | None = Field(None, validate_default=True)
    root: UserPath | None = None
    resolution: Side | None = Field(None, validate_default=True)
    channels: Literal[1, 3] = 3
    memory: Literal["auto", "always", "never"] = "auto"
    memory_limit_bytes: int = Field(2 * 2**30, ge=0)
    loaders: Processes = 0
    augment: Augment | None = None
    class_names: tuple[str, ...] | None = None
    splits: SplitSpec = SplitSpec()

    @field_validator(*ONLY_FOR)
    @classmethod
    def _key_fits_the_set(cls, value: Any, info: ValidationInfo) -> Any:
        name, key = info.data.get("name"), info.field_name
        assert key is not None
        if name is None:  # an error by itself
            return value
        if name in ONLY_FOR[key]:
            if key == "path" and value is None:
                raise ValueError(f"must name the {'array file' if name == 'npz' else 'folder'} when 'name' is {name}")
            if key == "resolution" and value is None:
                raise ValueError("must say to how many pixels a side images are brought when 'name' is folder")
        elif value != cls.model_fields[key].default:
            raise ValueError(f"must be absent when 'name' is {name} (it is for {', '.join(ONLY_FOR[key])})")
        return value

    @property
    def effective_augment(self) -> AugmentSpec:
        """The augmentation asked for, or the usual one of the data set where none is."""
        return USUAL_AUGMENT[self.name] if self.augment is None else self.augment
