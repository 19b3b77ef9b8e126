"""The `data:` part of an experiment. Imports no torch, so that reading a spec stays fast."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.resolution import Resolution
from aebnas.core.spec_base import Spec, updated
from aebnas.core.spec_types import MAX_PROCESSES, Processes, Seed, UserPath
from aebnas.runtime.preprocessing import WHITE, Fit, ImageReader, Resize


def _size(value: object, minimum: int) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= minimum
    is_fraction = isinstance(value, float) and 0 < value < 1
    if not (is_count or is_fraction):
        raise ValueError(f"must be a fraction above 0 and below 1, or a whole number of at least {minimum}")
    return value


Size = Annotated[int | float, BeforeValidator(partial(_size, minimum=1))]
"""A fraction of the official training part (float in (0, 1)) or a count of images (int >= 1)."""
OptionalSize = Annotated[int | float, BeforeValidator(partial(_size, minimum=0))]
"""A `Size`, or the whole number 0 for a split that isn't cut."""


def _loaders(value: object) -> object:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PROCESSES
    if value != "auto" and not is_count:
        raise ValueError(f"must be auto or a whole number from 0 to {MAX_PROCESSES}")
    return value


Loaders = Annotated[
    int | Literal["auto"], BeforeValidator(_loaders, json_schema_input_type=Processes | Literal["auto"])
]
ColourValue = Annotated[int, Field(strict=True, ge=0, le=255)]


class SplitSpec(Spec):
    """Sizes of the splits cut from the official training part; the remaining images are `train`.

    A size is a fraction (above 0 and below 1) or a number of images. `test` is cut first, from all images; the others
    are cut from the rest.
    """

    seed: Seed = 2026
    """Seed of the cut."""
    arch: OptionalSize = 0
    """Trains architecture parameters in differentiable search; 0 cuts no such split."""
    search: Size = 0.10
    """Scores candidates."""
    calibrate: Size = 0.05
    """Fits temperatures and thresholds."""
    certify: OptionalSize = 0.05
    """Reserved for the risk guarantee of `aebnas calibrate --risk`; 0 cuts no such split."""
    test: OptionalSize = 0
    """Becomes the test set, of image files that have no test part of their own (`folder`, `csv`); required there, 0
    elsewhere."""

    @model_validator(mode="after")
    def _leave_something_for_train(self) -> "SplitSpec":
        sizes = (self.arch, self.search, self.calibrate, self.certify)
        if sum(size for size in sizes if isinstance(size, float)) >= 1:
            raise ValueError(f"fractions must sum to less than 1, but got {sizes} (arch, search, calibrate, certify)")
        return self


class AugmentSpec(Spec):
    """Augmentation of training images, in this order; what is absent is off."""

    crop: int = Field(0, strict=True, ge=0)
    """Random crop after padding by this many pixels."""
    pad: Literal["zero", "reflect"] = "zero"
    """What a crop pads with: `zero` (black) or the mirrored image, whose norm statistics are those of whole images."""
    flip: Literal[True, False, "alternate"] = False
    """Left-right flip with probability 1/2, or `alternate`: a random half in the first epoch, then always the other
    half than the epoch before (Jordan 2024)."""
    trivial_augment: bool = False
    """One random operation of random strength for each image (Müller & Hutter 2021); for 1 or 3 channels."""
    cutout: int = Field(0, strict=True, ge=0)
    """A random square of this many pixels a side is set to 0 (DeVries & Taylor 2017)."""
    mixup: float = Field(0, strict=True, ge=0)
    """Alpha of mixup (Zhang et al. 2018): images and labels are mixed in pairs."""


_CROP_FLIP = AugmentSpec(crop=4, flip=True)
AUGMENTATIONS = {
    "none": AugmentSpec(),
    "crop_flip": _CROP_FLIP,
    "shift_flip": AugmentSpec(crop=2, pad="reflect", flip="alternate"),
    "cutout": updated(_CROP_FLIP, {"cutout": 8}),
    "trivial_augment": updated(_CROP_FLIP, {"trivial_augment": True}),
    "mixup": updated(_CROP_FLIP, {"mixup": 0.2}),
}
"""Augmentation by name, for images of about 32 pixels: `shift_flip` for short trainings, the others by their parts; the
last three add to `crop_flip` what they are named after."""

DEFAULT_AUGMENT = {
    "digits": AugmentSpec(crop=1),
    "npz": AUGMENTATIONS["none"],
    "folder": AUGMENTATIONS["none"],
    "csv": AUGMENTATIONS["none"],
    "cifar10": AUGMENTATIONS["shift_flip"],
    "cifar100": AUGMENTATIONS["shift_flip"],
    "svhn": AugmentSpec(crop=4),
    "mnist": AugmentSpec(crop=2),
    "fashion_mnist": AugmentSpec(crop=2, flip=True),
}


def _named(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in AUGMENTATIONS:
        raise ValueError(f"must be a mapping or one of {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[value]


Augment = Annotated[AugmentSpec, BeforeValidator(_named, json_schema_input_type=Literal[*AUGMENTATIONS] | AugmentSpec)]
"""An `AugmentSpec`, or the name of one in `AUGMENTATIONS`."""

TORCHVISION = ("cifar10", "cifar100", "svhn", "mnist", "fashion_mnist")
IN_FILES = ("folder", "csv")
"""The sets whose images are files, each read when it is needed."""
ONLY_FOR = {
    "path": ("npz", *IN_FILES),
    "root": TORCHVISION,
    "resolution": IN_FILES,
    "channels": IN_FILES,
    "resize": IN_FILES,
    "fit": IN_FILES,
    "ground": IN_FILES,
    "follow_links": ("folder",),
    "unreadable": IN_FILES,
    "memory": IN_FILES,
    "memory_limit_bytes": IN_FILES,
}
PATH_TO = {"npz": "array file", "folder": "folder", "csv": "CSV file of paths and labels"}


class DataSpec(Spec):
    """Which labelled image set, where it is stored, how it is augmented and split."""

    name: Literal["digits", "npz", "folder", "csv", "cifar10", "cifar100", "svhn", "mnist", "fashion_mnist"]
    """The image set: `folder`, `csv` and `npz` read your own images, the others are public sets."""
    path: UserPath | None = Field(None, validate_default=True)
    """The file of `npz` or `csv`, or the folder of `folder`; may be relative to the YAML file."""
    root: UserPath | None = None
    """Folder that holds torchvision's sets or that they are downloaded to (`data` if absent); may be relative to the
    YAML file."""
    resolution: Resolution | None = Field(None, validate_default=True)
    """Of `folder` and `csv`: images are brought to this size; pixels a side, or height x width such as `96x160`."""
    channels: Literal[1, 3] = 3
    """Of `folder` and `csv`: 3 (RGB) or 1 (grey)."""
    resize: Resize = "bilinear"
    """Of `folder` and `csv`: the filter by which images are resized, antialiased but for `nearest`."""
    fit: Fit = "crop"
    """Of `folder` and `csv`: images of another aspect ratio are cropped to their centre (`crop`), resized without
    keeping it (`stretch`), or surrounded by `ground` (`pad`)."""
    ground: tuple[ColourValue, ColourValue, ColourValue] = WHITE
    """Of `folder` and `csv`: red, green and blue of what lies below transparent pixels and around images that
    `fit: pad` surrounds."""
    follow_links: bool = False
    """Of `folder` only: also read what symbolic links to places outside the folder lead to."""
    unreadable: Literal["refuse", "leave_out"] = "refuse"
    """Of `folder` and `csv`: what to do about files that can't be read as images, such as damaged or empty ones, and
    decompression bombs: end with an error, or leave them out and say how many."""
    memory: Literal["auto", "always", "never"] = "auto"
    """Of `folder` and `csv`: hold images in memory `always`, `never` (files are read again whenever they are needed),
    or where they take at most `memory_limit_bytes` (`auto`)."""
    memory_limit_bytes: int = Field(2 * 2**30, ge=0)
    """Of `folder` and `csv`: the limit of `memory: auto`."""
    loaders: Loaders = "auto"
    """Processes that read images and prepare training batches ahead of their use; 0 does so in the training process.
    `auto` is as many as the training has threads where images are read from files, and 0 where they are in memory."""
    augment: Augment | None = None
    """A recipe's name or its parts; the set's default augmentation if absent. For training images only."""
    class_names: tuple[str, ...] | None = None
    """Names of the classes in reports; if absent, those of the set or of the class folders, else numbers."""
    splits: SplitSpec = SplitSpec()
    """How the official training part is cut."""

    @field_validator(*ONLY_FOR)
    @classmethod
    def _key_fits_the_set(cls, value: Any, info: ValidationInfo) -> Any:
        name, key = info.data.get("name"), info.field_name
        assert key is not None
        if name is None:  # reported as an error of its own
            return value
        if name in ONLY_FOR[key]:
            if key == "path" and value is None:
                raise ValueError(f"must name the {PATH_TO[name]} when 'name' is {name}")
            if key == "resolution" and value is None:
                raise ValueError(f"must be given (pixels a side, or height x width) when 'name' is {name}")
        elif value != cls.model_fields[key].default:
            raise ValueError(f"must be absent when 'name' is {name} (it is for {', '.join(ONLY_FOR[key])})")
        return value

    def reader(self, shape: tuple[int, int, int]) -> ImageReader:
        """What reads image files as pixels of `shape` (c, h, w); also recorded for sets of arrays."""
        return ImageReader(shape, self.resize, self.fit, self.ground)

    @field_validator("splits")
    @classmethod
    def _test_share_fits_the_set(cls, splits: SplitSpec, info: ValidationInfo) -> SplitSpec:
        name = info.data.get("name")
        if splits.test and name is not None and name not in IN_FILES:
            rule = f"must be absent when 'name' is {name}, which has a test part of its own, but got {splits.test}"
            raise SpecError("test", rule)
        return splits

    @property
    def in_files(self) -> bool:
        """Whether each image is a file of its own."""
        return self.name in IN_FILES

    @property
    def effective_augment(self) -> AugmentSpec:
        """The augmentation of the spec, or the data set's default where it has none."""
        return DEFAULT_AUGMENT[self.name] if self.augment is None else self.augment
