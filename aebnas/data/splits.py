"""The splits of the official training part, cut once by a fixed seed: disjoint, stratified, of exact size.

`train` is for weights, `arch` for architecture parameters, `search` scores candidates, `calibrate` fits
temperatures and thresholds, `certify` is used by the risk guarantee only. The test part isn't read here.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from aebnas.core.errors import SpecError
from aebnas.data.data_spec import AugmentSpec, DataSpec, SplitSpec
from aebnas.data.datasets import load_train
from aebnas.data.image_files.files import Files, Held
from aebnas.data.image_set import ImageSet
from aebnas.data.stratified import cut_stratified
from aebnas.runtime.preprocessing import CHANNELS

SEARCH, CALIBRATE = "search", "calibrate"
"""The split that scores candidates, and the one that temperatures and thresholds are fitted on."""
CUT = ("arch", SEARCH, CALIBRATE, "certify")
SPLITS = ("train", *CUT)
MAY_LACK_CLASSES = ("arch", "certify")
MEMORY_PRIORITY = (SEARCH, CALIBRATE, "train", "arch", "certify")
"""The splits by how often they are read: in this order they are held in memory while it lasts."""


@dataclass(frozen=True, eq=False)
class Splits:
    """The disjoint parts of the official training part; `arch` and `certify` may be empty.

    `membership` holds the indices `[n]` of each in that part. `left_out` counts, by reason, what lay beside the images
    and was not read as one; `notes` say what isn't plain about the training and the test part.
    """

    train: ImageSet
    arch: ImageSet
    search: ImageSet
    calibrate: ImageSet
    certify: ImageSet
    membership: Mapping[str, Tensor]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def missing_classes(self, name: str) -> list[int]:
        """The classes of which a split has no image, where it has any images."""
        split: ImageSet = getattr(self, name)
        present = set(split.labels.tolist())
        return [label for label in range(split.classes) if label not in present] if present else []


Divide = Callable[[ImageSet], Mapping[str, Tensor]]
"""Official training part -> indices of each split; may raise UserError."""


def load_splits(spec: DataSpec, base: Path, divide: Divide | None = None) -> Splits:
    """Load the official training part and divide it; `base` as in `load_train`.

    `divide` returns the indices of each split; by default they are cut by `cut_splits`.

    Images in files are held in memory where `spec.memory` allows; of a set too large as a whole, those splits that
    fit. Raises UserError for bad data, splits that the set is too small for, or a crop that could miss the whole image.
    """
    images = load_train(spec, base)
    check_augment(spec.effective_augment, images.shape)
    divided = cut_splits(images.labels, spec.splits) if divide is None else divide(images)
    parts = {name: images.subset(part) for name, part in divided.items()}
    return Splits(**_held(parts, spec), membership=divided, left_out=images.left_out, notes=images.notes)


def check_augment(augment: AugmentSpec, shape: Sequence[int]) -> None:
    """Raise SpecError for a crop that could miss whole images of `shape` (c, h, w), or operations on colours that they
    haven't.
    """
    if augment.crop >= (side := min(shape[1:])):
        rule = f"must be less than the shorter side of an image ({side}), but got {augment.crop}"
        raise SpecError("data.augment.crop", rule)
    if augment.trivial_augment and shape[0] not in CHANNELS:
        rule = f"must be false for images of {shape[0]} channels, since its operations are for grey and RGB"
        raise SpecError("data.augment.trivial_augment", f"{rule}, but got true")


def read_held(splits: Splits) -> None:
    """Read now all images that are to be held in memory, so that a damaged one shows before hours of training."""
    for name in SPLITS:
        split: ImageSet = getattr(splits, name)
        if isinstance(split.source, Held) and len(split):
            split.pixels(slice(0, 1))


def _held(parts: dict[str, ImageSet], spec: DataSpec) -> dict[str, ImageSet]:
    """The parts, with those of files held in memory as far as the spec allows."""
    left = {"auto": spec.memory_limit_bytes, "always": math.inf, "never": -1}[spec.memory]
    for name in MEMORY_PRIORITY:
        part = parts[name]
        size_bytes = len(part) * math.prod(part.shape)
        if isinstance(part.source, Files) and size_bytes <= left:
            left -= size_bytes
            parts[name] = dataclasses.replace(part, source=Held(part.source, spec.loaders))
    return parts


def cut_splits(labels: Tensor, spec: SplitSpec) -> dict[str, Tensor]:
    """Sorted indices `[n_split]` (int64) into `labels [n]` of train, arch, search, calibrate and certify.

    Raises SpecError where a split other than arch and certify would hold fewer images than there are classes.
    """
    return cut_stratified(labels, {name: getattr(spec, name) for name in CUT}, spec.seed, MAY_LACK_CLASSES)
