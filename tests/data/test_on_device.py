"""Batches for GPUs. Here there is none: a set is copied to the CPU as to a GPU, and fake tensors (without values) show
that no op mixes devices."""

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from aebnas.data import batches as batches_module
from aebnas.data import on_device
from aebnas.data.batches import Batches, eval_batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.data_spec import AugmentSpec
from aebnas.data.image_set import ImageSet
from aebnas.data.on_device import RESIDENT_SHARE, copied, fits
from aebnas.data.transforms import mix_up

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
SPECS = {
    "none": AugmentSpec(),
    "all": AugmentSpec(crop=1, flip="alternate", cutout=2, mixup=0.4),
    "trivial_augment": AugmentSpec(crop=1, flip=True, trivial_augment=True),
}


def image_set(n: int = 20) -> ImageSet:
    pixels = torch.randint(256, (n, 3, 6, 5), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return ImageSet.of(pixels, torch.arange(n) % 3, 3)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The bytes free on any device, which a test sets."""
    free = [0]
    monkeypatch.setattr(on_device, "free_bytes", lambda device: free[0])
    yield free


@pytest.mark.parametrize("name", SPECS)
def test_batches_of_a_copied_set_equal_those_of_the_set(room: list[int], name: str) -> None:
    images, spec = image_set(), SPECS[name]
    preprocessing = measure_preprocessing(images)

    def epochs(batches: Batches) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        return [part for epoch in range(2) for batch in batches.epoch(generator, epoch) for part in batch]

    expected = epochs(Batches(images, preprocessing, spec, 8))
    room[0] = 10**9
    resident = Batches(images, preprocessing, spec, 8)
    found = epochs(resident)
    assert len(found) == len(expected) == 8 and all(map(torch.equal, found, expected))
    # images that torchvision augments one by one stay where the CPU is
    assert resident._input is not None and (resident._input.images is images) == (name == "trivial_augment")


def test_a_set_that_takes_a_larger_share_than_stated_is_not_copied(room: list[int]) -> None:
    images = image_set()
    size = 20 * 3 * 6 * 5
    room[0] = int(size / RESIDENT_SHARE)
    assert fits(images, GPU)
    room[0] -= 4
    assert not fits(images, GPU)


def test_a_cpu_has_no_memory_of_its_own() -> None:
    assert not fits(image_set(), CPU)


def test_a_large_set_is_copied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "COPIED_AT_ONCE", 7)
    images = image_set()
    copy = copied(images, CPU)
    assert torch.equal(copy.pixels(), images.pixels()) and torch.equal(copy.labels, images.labels)
    assert copy.classes == images.classes


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("spec", [AugmentSpec(), AugmentSpec(crop=1, flip="alternate", cutout=2)])
def test_no_op_mixes_devices(monkeypatch: pytest.MonkeyPatch, resident: bool, spec: AugmentSpec) -> None:
    images = image_set()
    preprocessing = measure_preprocessing(images)
    monkeypatch.setattr(batches_module, "fits", lambda images, device: resident)
    monkeypatch.setattr(ImageSet, "__post_init__", lambda self: None)  # it looks at values, which fake tensors lack
    with FakeTensorMode(allow_non_fake_inputs=True):
        batches = Batches(images, preprocessing, spec, 8, loaders=0)
        seen = [*batches.epoch(torch.Generator().manual_seed(3), 1, device=GPU)]
        seen += [*eval_batches(images, preprocessing, 8, GPU)]
        x_nchw, labels_n = seen[0]
        mixed = mix_up(x_nchw, labels_n, 3, 0.3)
        with pytest.raises(RuntimeError, match="devices"):  # as a real GPU would
            x_nchw + torch.zeros(1, 3, 1, 1)
    assert len(seen) == 2 + 3
    assert {part.device for batch in (*seen, mixed) for part in batch} == {GPU}
    assert all(x_nchw.is_contiguous(memory_format=torch.channels_last) for x_nchw, _ in seen)
