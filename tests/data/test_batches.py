import dataclasses
import pickle
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image

from aebnas.core.errors import UserError
from aebnas.data import batches as batches_module
from aebnas.data.batches import Batches, eval_batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.data_spec import AugmentSpec, Loaders
from aebnas.data.image_files.files import Files, Held
from aebnas.data.image_set import ImageSet, InMemory
from aebnas.data.loader_workers import PART
from aebnas.runtime.preprocessing import ImageReader, Preprocessing

FULL = AugmentSpec(crop=1, flip="alternate", trivial_augment=True, cutout=2, mixup=0.4)
"""All augmentations at once."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int, shape: tuple[int, int, int] = (3, 5, 4)) -> torch.Tensor:
    return torch.randint(256, (n, *shape), generator=seeded(9), dtype=torch.uint8)


def image_set(images: torch.Tensor) -> ImageSet:
    return ImageSet.of(images, torch.arange(len(images)) % 3, 3)


def numbered(n: int) -> ImageSet:
    """Images whose pixels and labels all equal the image's number."""
    numbers = torch.arange(n)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(n, 3, 4, 4).contiguous()
    return ImageSet.of(images, numbers, max(n, 2))


RAW = Preprocessing((0.0,) * 3, (1 / 255,) * 3, ImageReader((3, 4, 4)))
"""Leaves pixels at 0..255, so that a batch shows the numbers of its images."""


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(10, 4, 2), (8, 4, 2), (3, 4, 1), (4, 1, 4)])
def test_an_epoch_sees_each_image_at_most_once(n: int, batch_size: int, steps: int) -> None:
    batches = Batches(numbered(n), RAW, AugmentSpec(), batch_size)
    seen = list(batches.epoch(seeded()))
    assert len(batches) == len(seen) == steps
    assert all(len(x) == len(y) == min(n, batch_size) for x, y in seen)
    labels = torch.cat([y for _, y in seen])
    assert len(labels.unique()) == len(labels)
    torch.testing.assert_close(torch.cat([x for x, _ in seen])[:, 0, 0, 0], labels.float())


Epoch = list[tuple[torch.Tensor, torch.Tensor]]


def same(one: Epoch, other: Epoch) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("spec", [AugmentSpec(crop=1, flip=True), FULL])
def test_epochs_depend_on_the_generator_only(spec: AugmentSpec) -> None:
    batches = Batches(image_set(pixels(12)), measure_preprocessing(image_set(pixels(12))), spec, 4)
    generator = seeded(3)
    first, second = list(batches.epoch(generator)), list(batches.epoch(generator))
    torch.manual_seed(77)
    after = torch.get_rng_state()
    assert same(first, list(batches.epoch(seeded(3)))) and not same(first, second)
    assert torch.equal(torch.get_rng_state(), after)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in first)


@pytest.mark.parametrize("spec", [AugmentSpec(), AugmentSpec(crop=1, flip=True), FULL])
@pytest.mark.parametrize(("n", "batch_size", "world"), [(20, 8, 2), (17, 4, 4), (6, 8, 3)])
def test_the_shares_of_all_ranks_are_the_batch_of_one_process(
    spec: AugmentSpec, n: int, batch_size: int, world: int
) -> None:
    images = image_set(pixels(n))
    batches = Batches(images, measure_preprocessing(images), spec, batch_size)
    whole = list(batches.epoch(seeded(5), epoch=1))
    ranks = [list(batches.epoch(seeded(5), epoch=1, rank=rank, world=world)) for rank in range(world)]
    assert [len(share) for share in ranks] == [len(batches)] * world
    assert len({len(y) for share in ranks for _, y in share}) == 1
    joined = [tuple(map(torch.cat, zip(*shares, strict=True))) for shares in zip(*ranks, strict=True)]
    assert same(whole, joined)  # type: ignore[arg-type]


class Counted(InMemory):
    """Images in memory that record how many are read at a time."""

    read_at_a_time: ClassVar[list[int]] = []

    def read(self, indices: torch.Tensor) -> torch.Tensor:
        self.read_at_a_time.append(len(indices))
        return super().read(indices)


def test_only_the_share_is_read() -> None:
    read, images = Counted.read_at_a_time, ImageSet(Counted(pixels(8)), torch.arange(8) % 3, 3)
    read.clear()
    measured = Preprocessing((0.5,) * 3, (0.5,) * 3, ImageReader((3, 5, 4)))
    for spec, expected in [
        (AugmentSpec(crop=1), 2),
        (AugmentSpec(mixup=1), 3),
    ]:  # mixup reads one more
        list(Batches(images, measured, spec, 8).epoch(seeded(), rank=3, world=4))
        assert read.pop() == expected and not read


def test_shares_must_be_equal() -> None:
    for world, rank in [(3, 0), (2, 2), (2, -1)]:
        with pytest.raises(ValueError, match="world must divide the batch of 4"):
            next(Batches(numbered(9), RAW, AugmentSpec(), 4).epoch(seeded(), rank=rank, world=world))


def test_alternating_flips_flip_the_other_half_in_each_epoch() -> None:
    images = torch.zeros(400, 3, 4, 4, dtype=torch.uint8)
    images[:, :, :, 0] = 1
    numbers = ImageSet.of(images, torch.arange(400), 400)

    def flipped(epoch: int, seed: int) -> torch.Tensor:
        [(x_nchw, y_n)] = Batches(numbers, RAW, AugmentSpec(flip="alternate"), 400).epoch(seeded(seed), epoch)
        return x_nchw[y_n.argsort(), 0, 0, 3] == 1

    first = flipped(0, seed=1)
    assert 160 < first.sum() < 240
    assert torch.equal(flipped(1, seed=2), ~first) and torch.equal(flipped(2, seed=3), first)


def test_mixup_gives_mixed_images_and_labels() -> None:
    batches = Batches(numbered(8), RAW, AugmentSpec(mixup=1), 4)
    for x_nchw, y_nk in batches.epoch(seeded(1)):
        assert y_nk.dtype == torch.float32 and y_nk.shape == (4, 8)
        torch.testing.assert_close(y_nk.sum(1), torch.ones(4))
        assert ((y_nk > 0).sum(1) == 2).all()
        # pixels equal their image's number, so a mixture's equal the mean number under the mixed label
        torch.testing.assert_close(x_nchw[:, 0, 0, 0], y_nk @ torch.arange(8.0))
        assert x_nchw.is_contiguous(memory_format=torch.channels_last)
    assert len({y_nk.max().item() for _, y_nk in batches.epoch(seeded(1))}) == 2  # drawn for each batch


def test_cutout_sets_pixels_to_the_mean() -> None:
    ones = ImageSet.of(torch.full((6, 3, 8, 8), 200, dtype=torch.uint8), torch.arange(6) % 2, 2)
    away = Preprocessing((0.5,) * 3, (1.0,) * 3, ImageReader((3, 8, 8)))
    [(x_nchw, _)] = Batches(ones, away, AugmentSpec(cutout=4), 6).epoch(seeded())
    blank = (x_nchw == 0).sum((1, 2, 3)) // 3
    assert ((blank >= 4) & (blank <= 16)).all() and len(blank.unique()) > 1


@pytest.fixture
def on_disk(tmp_path: Path) -> ImageSet:
    """Twelve image files."""
    paths = []
    for number, image in enumerate(pixels(12, (3, 6, 6))):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(paths[-1])
    return ImageSet(Files(tuple(paths), ImageReader((3, 6, 6))), torch.arange(12) % 3, 3)


@pytest.mark.parametrize(("loaders", "held"), [(0, False), (2, False), (1, True), ("auto", False), ("auto", True)])
@pytest.mark.parametrize("part", [3, PART])
def test_streamed_batches_equal_those_in_memory(
    monkeypatch: pytest.MonkeyPatch, on_disk: ImageSet, loaders: Loaders, held: bool, part: int
) -> None:
    monkeypatch.setattr(batches_module, "PART", part)  # a process's share of a batch
    in_memory = ImageSet.of(pixels(12, (3, 6, 6)), on_disk.labels, 3)
    measured = measure_preprocessing(in_memory)
    assert measure_preprocessing(on_disk) == measured
    read = dataclasses.replace(on_disk, source=Held(on_disk.source, loaders)) if held else on_disk
    streamed = Batches(read, measured, FULL, 5, loaders)
    for epoch in range(2):  # the second epoch reuses the processes of the first
        expected = list(Batches(in_memory, measured, FULL, 5, loaders=0).epoch(seeded(epoch), epoch))
        assert same(list(streamed.epoch(seeded(epoch), epoch)), expected)
    assert same(list(eval_batches(on_disk, measured, 5)), list(eval_batches(in_memory, measured, 5)))


def test_the_automatic_number_of_loaders_depends_on_where_images_are(on_disk: ImageSet) -> None:
    measured = measure_preprocessing(on_disk)
    held = dataclasses.replace(on_disk, source=Held(on_disk.source, 0))
    for images, expected in [(on_disk, 1), (held, 0), (image_set(pixels(12, (3, 6, 6))), 0)]:
        batches = Batches(images, measured, AugmentSpec(), 4)
        list(batches.epoch(seeded()))
        assert batches._input is not None and batches._input.workers.count == expected


def test_an_unreadable_image_is_named_when_a_worker_process_reads_it(on_disk: ImageSet) -> None:
    assert isinstance(on_disk.source, Files)
    bad = Path(on_disk.source.paths[7])
    bad.write_bytes(bad.read_bytes()[:60])
    preprocessing = Preprocessing((0.5,) * 3, (0.5,) * 3, on_disk.source.reader)
    batches = Batches(on_disk, preprocessing, AugmentSpec(), 4, loaders=1)
    for _ in range(2):
        with pytest.raises(UserError) as raised:
            list(batches.epoch(seeded()))
        assert str(raised.value).startswith(f"{bad}: must be a readable image, but got ")
        assert "\n" not in str(raised.value)


def test_batches_can_be_pickled_after_use() -> None:
    images = image_set(pixels(12))
    batches = Batches(images, measure_preprocessing(images), AugmentSpec(crop=1, flip="alternate"), 4, loaders=1)
    before = list(batches.epoch(seeded()))
    assert same(list(pickle.loads(pickle.dumps(batches)).epoch(seeded())), before)


def test_eval_batches_are_in_order_unaugmented_and_complete() -> None:
    seen = list(eval_batches(numbered(10), RAW, 4))
    assert [len(y) for _, y in seen] == [4, 4, 2]
    assert torch.cat([y for _, y in seen]).tolist() == list(range(10))
    torch.testing.assert_close(torch.cat([x for x, _ in seen]), numbered(10).pixels().float())
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in seen)


def test_batches_refuse_invalid_values() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, but got 0"):
        Batches(numbered(4), RAW, AugmentSpec(), 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, but got -1"):
        list(eval_batches(numbered(4), RAW, -1))
    with pytest.raises(ValueError, match="at least one image"):
        Batches(numbered(4).subset(torch.tensor([], dtype=torch.int64)), RAW, AugmentSpec(), 2)
