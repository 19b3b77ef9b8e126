"""Names of the classes of an image set, in the order of their labels. Imports no torch and reads no images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import did_you_mean
from aebnas.data.arrays.array_file import text_classes
from aebnas.data.data_spec import DataSpec
from aebnas.data.image_files.csv_listing import csv_classes
from aebnas.data.image_files.folder_layout import folder_classes

Key = TypeVar("Key", bound=int | str)
Value = TypeVar("Value")

CLASSES_NAMED = 8
"""In an error."""

DEFAULT_ROOT = Path("data")
"""Where torchvision's sets are downloaded to unless the spec names another folder."""

DIGITS = tuple("0123456789")

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = tuple(_CIFAR100.split())

FASHION_MNIST = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

CLASS_NAMES = {
    "digits": DIGITS,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "svhn": DIGITS,
    "mnist": DIGITS,
    "fashion_mnist": FASHION_MNIST,
}


def class_names(spec: DataSpec, base: Path) -> tuple[str, ...] | None:
    """Names of the classes: those given, else the set's own, else None. Relative paths start from `base`."""
    return own_class_names(spec, base) if spec.class_names is None else spec.class_names


def own_class_names(spec: DataSpec, base: Path) -> tuple[str, ...] | None:
    """Names that the set itself has for its classes, or None."""
    if spec.name == "folder":
        return folder_classes(data_path(spec, base), spec.splits.test, spec.follow_links)
    if spec.name == "csv":
        return csv_classes(data_path(spec, base), spec.splits.test)
    if spec.name == "npz":
        return text_classes(data_path(spec, base))
    return CLASS_NAMES.get(spec.name)


def named_classes(spec: DataSpec, base: Path, classes: int) -> list[str]:
    """The same, but their numbers where there are no names."""
    names = class_names(spec, base)
    return [str(number) for number in range(classes)] if names is None else list(names)


def class_numbers(given: Mapping[Key, Value], names: Sequence[str]) -> dict[int, Value]:
    """Values by class as values by class number, in the order of the numbers; a key is a class's name or its number.

    Raises SpecError, with the key as path, for an unknown name or number, for a class given twice, and for a number
    that is also the name of another class.
    """
    found: dict[int, Value] = {}
    for key, value in given.items():
        path = str(key)
        if isinstance(key, str):
            if key not in names:
                shown = ", ".join(names[:CLASSES_NAMED]) + (", ..." if len(names) > CLASSES_NAMED else "")
                rule = f"must be one of the data's classes ({shown}), but got '{key}'"
                raise SpecError(path, rule + did_you_mean(key, names))
            number = names.index(key)
        else:
            number = key
            if not 0 <= number < len(names):
                raise SpecError(path, f"must be a class's name or number in 0..{len(names) - 1}, but got {number}")
            if path in names and names.index(path) != number:
                rule = f"must be clear, but class {number} is named '{names[number]}', and another class '{path}'"
                raise SpecError(path, f"{rule}; data.class_names can give other names")
        if number in found:
            raise SpecError(path, f"must be a class that is given once, but class '{names[number]}' is given twice")
        found[number] = value
    return dict(sorted(found.items()))


def data_path(spec: DataSpec, base: Path) -> Path:
    """Absolute path of the file of `npz` or `csv`, or the folder of `folder`."""
    assert spec.path is not None  # the spec checks it
    return (base / spec.path.expanduser()).absolute()


def location(spec: DataSpec, base: Path) -> Path | None:
    """Absolute path of the file or folder that the images are read from; None for a set that comes with a library."""
    if spec.name == "digits":
        return None
    if spec.path is not None:
        return data_path(spec, base)
    return (base / (spec.root or DEFAULT_ROOT).expanduser()).absolute()
