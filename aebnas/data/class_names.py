"""Names of the classes of an image set, in the order of their labels. Imports no torch and reads no images."""

from pathlib import Path

from aebnas.data.data_spec import DataSpec
from aebnas.data.folder_walk import FolderWalk

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
    if spec.class_names is not None:
        return spec.class_names
    if spec.name == "folder":
        return tuple(FolderWalk(data_path(spec, base), spec.follow_links).classes("train"))
    return CLASS_NAMES.get(spec.name)


def named_classes(spec: DataSpec, base: Path, classes: int) -> list[str]:
    """The same, but their numbers where there are no names."""
    names = class_names(spec, base)
    return [str(number) for number in range(classes)] if names is None else list(names)


def data_path(spec: DataSpec, base: Path) -> Path:
    """Absolute path of the file of `npz` or the folder of `folder`."""
    assert spec.path is not None  # the spec checks it
    return (base / spec.path.expanduser()).absolute()


def location(spec: DataSpec, base: Path) -> Path | None:
    """Absolute path of the file or folder that the images are read from; None for a set that comes with a library."""
    if spec.name == "digits":
        return None
    if spec.path is not None:
        return data_path(spec, base)
    return (base / (spec.root or DEFAULT_ROOT).expanduser()).absolute()
