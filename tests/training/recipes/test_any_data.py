"""The default recipe learns on sets of any kind without tuning, from scratch and as a supernet."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from aebnas.data.batches import Batches
from aebnas.data.data_spec import AugmentSpec
from aebnas.data.image_set import ImageSet
from aebnas.runtime.preprocessing import ImageReader, Preprocessing
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet
from aebnas.training.loop import fit
from aebnas.training.recipes.batch_size import resolved_batch_size
from aebnas.training.recipes.presets import PRESETS
from aebnas.training.sandwich import SandwichTask
from aebnas.training.single_network import SingleTask, fresh_network
from aebnas.training.training_spec import SupernetSpec, TrainSpec


@dataclass(frozen=True, eq=False)
class Patterns:
    """A source of any number of images: the pattern of each one's class (image i is of class i modulo k), and noise."""

    numbers_n: Tensor
    patterns_kchw: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.patterns_kchw.shape[1:]
        return channels, height, width

    @property
    def in_memory(self) -> bool:
        return False

    @property
    def paths(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.numbers_n)

    def read(self, indices: Tensor) -> Tensor:
        noise = torch.randn(len(indices), *self.shape, generator=torch.Generator().manual_seed(int(indices[0])))
        return (
            (self.patterns_kchw[self.numbers_n[indices] % len(self.patterns_kchw)] + 20 * noise)
            .clamp(0, 255)
            .to(torch.uint8)
        )

    def take(self, indices: Tensor) -> "Patterns":
        return Patterns(self.numbers_n[indices], self.patterns_kchw)


def patterns(classes: int, channels: int, side: int) -> Tensor:
    """Coarse random patterns, one a class."""
    coarse = torch.rand(classes, channels, 4, 4, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse * 255, size=(side, side), mode="nearest")


def space_of(classes: int, channels: int, side: int) -> SearchSpace:
    """Two stages with an exit, behind a stem that reduces large images."""
    value = {
        "input": {"channels": channels, "resolution": side},
        "classes": classes,
        "stem": {"width": 8, "stride": min(4, max(1, side // 28))},
        "stages": [
            {"width": [8, 16], "depth": 1, "stride": 2, "op": "basic"},
            {"width": [16, 32], "depth": 1, "stride": 2, "op": "basic"},
        ],
        "exits": {"optional": False},
    }
    return SearchSpace(SpaceSpec.model_validate(value))


@pytest.mark.parametrize(
    "kind, images, classes, channels, side, steps, remaining",
    [
        ("single", 1_000, 2, 1, 28, 24, 0.97),
        ("supernet", 1_000, 2, 1, 28, 24, 0.97),
        ("single", 1_000, 10, 3, 224, 24, 0.97),
        ("supernet", 1_000_000, 10, 3, 32, 24, 0.97),
        ("single", 1_000_000, 1000, 3, 32, 60, 0.995),
        ("single", 60, 3, 1, 28, 24, 0.97),
    ],
)
def test_the_loss_falls(kind, images, classes, channels, side, steps, remaining):
    """By the end to a share of what it was at first; many classes need more steps than a test has time for."""
    own = ImageSet(
        Patterns(torch.arange(images), patterns(classes, channels, side)), torch.arange(images) % classes, classes
    )
    reader = ImageReader(shape=(channels, side, side), resize="bilinear", fit="crop", ground=(255, 255, 255))
    preprocessing = Preprocessing(mean=(0.5,) * channels, std=(0.25,) * channels, reader=reader)
    size = min(64, resolved_batch_size("auto", images, side, side))  # 512 would take too long
    batches = Batches(own, preprocessing, AugmentSpec(crop=2, pad="reflect"), size)
    space = space_of(classes, channels, side)
    settings = {"steps": steps, "precision": "fp32", "validate_every": 10**6}
    if kind == "single":
        architecture = space.extreme(largest=True)
        spec = TrainSpec.model_validate(settings)
        task = SingleTask(fresh_network(architecture, 0), architecture, spec, None, preprocessing, [])
    else:
        spec = SupernetSpec.model_validate(settings | {"random_subnets": 0, "branches": 1})
        supernet = Supernet(space.spec, torch.Generator().manual_seed(0))
        task = SandwichTask(supernet, space, spec, own, preprocessing, [])
    seen, losses = [], task.losses

    def noted(*arguments):
        total = 0.0
        for loss in losses(*arguments):
            total += float(loss.detach())
            yield loss
        seen.append(total)

    task.losses, task.validate = noted, lambda module: []
    fit(task, batches, spec, 1, "test", None)
    assert len(seen) == steps and all(map(math.isfinite, seen))
    assert sum(seen[-8:]) < remaining * sum(seen[:8]), seen


def test_the_default_recipe_is_that_of_new_specs():
    assert TrainSpec(epochs=1).model_dump(include=set(PRESETS["fast"])) == dict(PRESETS["fast"])
