import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.data.augment import Batches, Preprocessing, augment, eval_batches
from aebnas.data.config import AugmentSpec
from aebnas.data.datasets import ImageSet


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, shape: tuple[int, int, int] = (3, 5, 4)) -> torch.Tensor:
    return torch.randint(256, (n, *shape), generator=seeded(9), dtype=torch.uint8)


def picture_by_picture(images: torch.Tensor, spec: AugmentSpec, generator: torch.Generator) -> torch.Tensor:
    """The plain loop over pictures and pixels that `augment` has to equal."""
    n, _, height, width = images.shape
    offsets = torch.zeros(2, n, dtype=torch.int64)
    if spec.crop:
        offsets = torch.randint(2 * spec.crop + 1, (2, n), generator=generator)
    flips = torch.randint(2, (n,), generator=generator) if spec.flip else torch.zeros(n)
    out = torch.zeros_like(images)
    for i in range(n):
        for y in range(height):
            for x in range(width):
                from_y = y + int(offsets[0, i]) - spec.crop
                from_x = (width - 1 - x if flips[i] else x) + int(offsets[1, i]) - spec.crop
                if 0 <= from_y < height and 0 <= from_x < width:
                    out[i, :, y, x] = images[i, :, from_y, from_x]
    return out


@given(
    st.integers(0, 6),
    st.sampled_from([(1, 3, 3), (3, 5, 4)]),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=50)
def test_augment_equals_a_loop_over_pictures(
    n: int, shape: tuple[int, int, int], crop: int, flip: bool, seed: int
) -> None:
    images, spec = pictures(n, shape), AugmentSpec(crop=crop, flip=flip)
    before = images.clone()
    got = augment(images, spec, seeded(seed))
    assert got.dtype == torch.uint8
    assert torch.equal(got, picture_by_picture(images, spec, seeded(seed)))
    assert torch.equal(images, before)


def test_pictures_are_augmented_independently_and_evenly() -> None:
    image = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    image[0, 0, 1, 0] = 1
    out = augment(image.expand(4000, 1, 3, 3), AugmentSpec(crop=1, flip=True), seeded())
    share = out.double().mean((0, 1))
    # Cropped by -1..1, the left middle pixel leaves the picture one time in three; flips even the sides.
    assert share.sum().item() == pytest.approx(2 / 3, abs=0.03)
    assert torch.allclose(share[:, 0], torch.full((3,), 1 / 18, dtype=torch.float64), atol=0.02)
    assert torch.allclose(share[:, 1], torch.full((3,), 1 / 9, dtype=torch.float64), atol=0.02)
    assert torch.allclose(share[:, 2], share[:, 0], atol=0.02)


def test_measure_is_the_mean_and_std_of_each_channel() -> None:
    images = pictures(20)
    images[:, 2] = 51
    scaled = images.double() / 255
    got = Preprocessing.measure(images)
    assert got.shape == (3, 5, 4)
    assert got.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert got.std[:2] == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist()[:2], abs=1e-12)
    assert got.std[2] == 1e-3
    with pytest.raises(ValueError, match="at least one picture"):
        Preprocessing.measure(images[:0])


def test_apply_normalises_into_channels_last() -> None:
    images = pictures(6)
    preprocessing = Preprocessing((0.1, 0.2, 0.3), (0.5, 0.25, 2.0), (3, 5, 4))
    x_nchw = preprocessing.apply(images)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    torch.testing.assert_close(x_nchw, (images / 255 - mean) / std, atol=1e-6, rtol=1e-6)
    assert x_nchw.dtype == torch.float32
    assert x_nchw.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("images", [pictures(2).float(), pictures(2, (1, 5, 4)), pictures(2, (3, 4, 5))])
def test_apply_refuses_other_pictures(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"images must be torch.uint8 \[n, 3, 5, 4\], but got"):
        Preprocessing.measure(pictures(2)).apply(images)


def test_preprocessing_survives_json() -> None:
    preprocessing = Preprocessing.measure(pictures(7))
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


@pytest.mark.parametrize(
    ("mean", "std", "shape"),
    [
        ((0.5,), (0.5,), (3, 4, 4)),
        ((0.5,), (0.0,), (1, 4, 4)),
        ((float("nan"),), (0.5,), (1, 4, 4)),
        ((0.5,), (0.5,), (1, 0, 4)),
    ],
)
def test_preprocessing_refuses_nonsense(
    mean: tuple[float, ...], std: tuple[float, ...], shape: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match="must"):
        Preprocessing(mean, std, shape)


def numbered(n: int) -> ImageSet:
    """Pictures whose pixels say their number, as do their labels."""
    numbers = torch.arange(n)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(n, 3, 4, 4).contiguous()
    return ImageSet(images, numbers, max(n, 2))


RAW = Preprocessing((0.0,) * 3, (1 / 255,) * 3, (3, 4, 4))
"""Leaves pixels at 0..255, so that batches can be read."""


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(10, 4, 2), (8, 4, 2), (3, 4, 1), (4, 1, 4)])
def test_an_epoch_sees_each_picture_at_most_once(n: int, batch_size: int, steps: int) -> None:
    batches = Batches(numbered(n), RAW, AugmentSpec(), batch_size)
    seen = list(batches.epoch(seeded()))
    assert len(batches) == len(seen) == steps
    assert all(len(x) == len(y) == min(n, batch_size) for x, y in seen)
    labels = torch.cat([y for _, y in seen])
    assert len(labels.unique()) == len(labels)
    torch.testing.assert_close(torch.cat([x for x, _ in seen])[:, 0, 0, 0], labels.float())


def test_epochs_follow_the_generator_alone() -> None:
    batches = Batches(
        ImageSet(pictures(12), torch.arange(12), 12),
        Preprocessing.measure(pictures(12)),
        AugmentSpec(crop=1, flip=True),
        4,
    )
    generator = seeded(3)
    first, second = list(batches.epoch(generator)), list(batches.epoch(generator))
    torch.manual_seed(77)
    again = list(batches.epoch(seeded(3)))
    assert all(torch.equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in first)


def test_eval_batches_go_in_order_unaugmented_to_the_last_picture() -> None:
    seen = list(eval_batches(numbered(10), RAW, 4))
    assert [len(y) for _, y in seen] == [4, 4, 2]
    assert torch.cat([y for _, y in seen]).tolist() == list(range(10))
    torch.testing.assert_close(torch.cat([x for x, _ in seen]), numbered(10).images.float())
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in seen)


def test_batches_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, but got 0"):
        Batches(numbered(4), RAW, AugmentSpec(), 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, but got -1"):
        list(eval_batches(numbered(4), RAW, -1))
    with pytest.raises(ValueError, match="at least one picture"):
        Batches(numbered(4).subset(torch.tensor([], dtype=torch.int64)), RAW, AugmentSpec(), 2)
