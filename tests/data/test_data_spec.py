import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aebnas.core.errors import UserError
from aebnas.core.spec_base import parse_spec
from aebnas.data.data_spec import AugmentSpec, DataSpec, SplitSpec
from aebnas.runtime.preprocessing import ImageReader


def parse(**value: Any) -> DataSpec:
    return parse_spec(DataSpec, value, "exp.yaml")


def test_defaults_are_the_published_protocol() -> None:
    assert parse(name="digits").splits == SplitSpec(seed=2026, arch=0, search=0.10, calibrate=0.05, certify=0.05)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"name": "digits"}, AugmentSpec(crop=1, flip=False)),
        ({"name": "cifar10"}, AugmentSpec(crop=2, pad="reflect", flip="alternate")),
        ({"name": "npz", "path": "a.npz"}, AugmentSpec(crop=0, flip=False)),
        ({"name": "cifar10", "augment": {"crop": 2}}, AugmentSpec(crop=2, flip=False)),
        ({"name": "svhn"}, AugmentSpec(crop=4)),
        ({"name": "folder", "path": "a", "resolution": 8}, AugmentSpec()),
        ({"name": "mnist", "augment": "none"}, AugmentSpec()),
        ({"name": "digits", "augment": "cutout"}, AugmentSpec(crop=4, flip=True, cutout=8)),
        ({"name": "digits", "augment": "mixup"}, AugmentSpec(crop=4, flip=True, mixup=0.2)),
        (
            {"name": "digits", "augment": {"flip": "alternate", "trivial_augment": True}},
            AugmentSpec(flip="alternate", trivial_augment=True),
        ),
    ],
)
def test_augmentation_is_the_default_of_the_set_unless_given(value: dict[str, Any], expected: AugmentSpec) -> None:
    assert parse(**value).effective_augment == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "npz"}, "path: must name the array file when 'name' is npz, but got nothing"),
        (
            {"name": "digits", "path": "a.npz"},
            "path: must be absent when 'name' is digits (it is for npz, folder, csv), but got 'a.npz'",
        ),
        (
            {"name": "npz", "path": "a.npz", "root": "d"},
            "root: must be absent when 'name' is npz (it is for cifar10, cifar100, svhn, mnist, fashion_mnist), "
            "but got 'd'",
        ),
        (
            {"name": "folder", "resolution": 8},
            "path: must name the folder when 'name' is folder, but got nothing",
        ),
        (
            {"name": "folder", "path": "a"},
            "resolution: must be given (pixels a side, or height x width) when 'name' is folder, but got",
        ),
        ({"name": "svhn", "resolution": 64}, "resolution: must be absent when 'name' is svhn (it is for folder, csv)"),
        ({"name": "digits", "memory": "never"}, "memory: must be absent when 'name' is digits (it is for folder, csv)"),
        ({"name": "folder", "path": "a", "resolution": 8, "channels": 2}, "channels: must be 1 or 3, but got 2"),
        *(
            (
                {"name": "digits", "loaders": wrong},
                f"loaders: must be auto or a whole number from 0 to 1024, but got {got}",
            )
            for wrong, got in (("many", "'many'"), (-1, -1), (1.5, 1.5), (1025, 1025), (True, True))
        ),
        (
            {"name": "digits", "fit": "pad"},
            "fit: must be absent when 'name' is digits (it is for folder, csv), but got",
        ),
        ({"name": "digits", "resize": "box"}, "resize: must be absent when 'name' is digits (it is for folder, csv)"),
        (
            {"name": "digits", "ground": [0, 0, 0]},
            "ground: must be absent when 'name' is digits (it is for folder, csv",
        ),
        ({"name": "folder", "path": "a", "resolution": 8, "resize": "cubic"}, "resize: must be 'nearest', 'box', "),
        ({"name": "folder", "path": "a", "resolution": 8, "ground": [0, 256, 0]}, "ground.1: must be "),
        ({"name": "folder", "path": "a", "resolution": 8, "ground": "red"}, "ground: must be "),
        ({"name": "cifr"}, "name: must be 'digits', 'npz', 'folder', 'csv', 'cifar10', "),
        (
            {"name": "digits", "augment": "mix"},
            "augment: must be a mapping or one of none, crop_flip, shift_flip, cutout, trivial_augment, mixup, "
            "but got 'mix'",
        ),
        (
            {"name": "digits", "augment": {"flip": "often"}},
            "augment.flip: must be True, False or 'alternate', but got 'often'",
        ),
        ({"name": "digits", "augment": {"mixup": -0.1}}, "augment.mixup: must be greater than or equal to 0"),
        ({"name": "digits", "augment": {"cutuot": 8}}, "augment.cutuot: unknown key, did you mean 'cutout'?"),
        ({"name": "digits", "splits": {"serch": 0.1}}, "splits.serch: unknown key, did you mean 'search'?"),
        ({"name": "digits", "augment": {"crop": -1}}, "augment.crop: "),
    ],
)
def test_keys_that_do_not_fit_the_set(value: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse(**value)
    assert str(raised.value).startswith(f"exp.yaml: {message}")


@pytest.mark.parametrize(
    ("split", "size", "minimum"),
    [
        ("search", 0, 1),
        ("calibrate", 0, 1),
        ("search", 1.0, 1),
        ("search", -0.1, 1),
        ("search", True, 1),
        ("search", "much", 1),
        ("arch", -1, 0),
        ("certify", 0.0, 0),
    ],
)
def test_a_size_is_a_fraction_or_a_count(split: str, size: object, minimum: int) -> None:
    rule = f"must be a fraction above 0 and below 1, or a whole number of at least {minimum}, but got {size!r}"
    with pytest.raises(UserError) as raised:
        parse(name="digits", splits={split: size})
    assert str(raised.value) == f"exp.yaml: splits.{split}: {rule}"


def test_sizes_keep_their_type() -> None:
    splits = parse(name="digits", splits={"arch": 0.25, "search": 100, "certify": 0}).splits
    assert isinstance(splits.arch, float) and isinstance(splits.search, int) and splits.certify == 0


def test_fractions_must_leave_images_for_train() -> None:
    with pytest.raises(UserError, match=r"exp.yaml: splits: fractions must sum to less than 1, but got"):
        parse(name="digits", splits={"search": 0.6, "calibrate": 0.35, "certify": 0.05})
    parse(name="digits", splits={"search": 0.6, "calibrate": 0.3, "certify": 0.05, "arch": 2})


def test_a_data_spec_round_trips_through_json() -> None:
    spec = parse(name="npz", path="~/a.npz", splits={"search": 30}, augment="mixup")
    folder = parse(name="folder", path="a", resolution=8, memory="never", augment={"flip": "alternate"})
    choices = {"resize": "box", "fit": "stretch", "ground": [0, 1, 2]}
    reading = parse(name="folder", path="a", resolution=8, **choices)
    assert reading.reader((3, 8, 8)) == ImageReader((3, 8, 8), "box", "stretch", (0, 1, 2))
    for read in (spec, folder, parse(name="mnist"), reading):
        assert DataSpec.model_validate_json(read.model_dump_json()) == read
    assert spec.path == Path("~/a.npz")


def test_reading_a_spec_imports_no_torch() -> None:
    code = "import sys, aebnas.data.data_spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
