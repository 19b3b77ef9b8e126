from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.data.data_spec import AugmentSpec
from aebnas.data.transforms import Draws, augment, cut_out, draw, mix_up

EVERYTHING = AugmentSpec(crop=2, flip=True, trivial_augment=True, cutout=2, mixup=0.3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int, shape: tuple[int, int, int] = (3, 5, 4)) -> torch.Tensor:
    return torch.randint(256, (n, *shape), generator=seeded(9), dtype=torch.uint8)


def drawn(images: torch.Tensor, spec: AugmentSpec, seed: int) -> torch.Tensor:
    c, h, w = images.shape[1:]
    return augment(images, spec, draw(spec, len(images), (c, h, w), seeded(seed)))


def mirrored(index: int, side: int) -> int:
    """A pixel outside of an image, mirrored at its edge."""
    return -index if index < 0 else 2 * (side - 1) - index if index >= side else index


def image_by_image(images: torch.Tensor, spec: AugmentSpec, generator: torch.Generator) -> torch.Tensor:
    """Crop and flip as a plain loop over images and pixels."""
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
                if spec.pad == "reflect":
                    from_y, from_x = mirrored(from_y, height), mirrored(from_x, width)
                if 0 <= from_y < height and 0 <= from_x < width:
                    out[i, :, y, x] = images[i, :, from_y, from_x]
    return out


@given(
    st.integers(0, 6),
    st.sampled_from([(1, 3, 3), (3, 5, 4)]),
    st.integers(0, 2),
    st.sampled_from(["zero", "reflect"]),
    st.booleans(),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=50)
def test_crop_and_flip_equal_a_loop_over_images(
    n: int, shape: tuple[int, int, int], crop: int, pad: Literal["zero", "reflect"], flip: bool, seed: int
) -> None:
    images, spec = pixels(n, shape), AugmentSpec(crop=crop, pad=pad, flip=flip)
    before = images.clone()
    got = drawn(images, spec, seed)
    assert got.dtype == torch.uint8
    assert torch.equal(got, image_by_image(images, spec, seeded(seed)))
    assert torch.equal(images, before)


def test_images_are_augmented_independently_and_evenly() -> None:
    image = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    image[0, 0, 1, 0] = 1
    out = drawn(image.expand(4000, 1, 3, 3), AugmentSpec(crop=1, flip=True), 0)
    share = out.double().mean((0, 1))
    # with offsets of -1..1, the left middle pixel leaves the image in one of three; flips make both sides equal
    assert share.sum().item() == pytest.approx(2 / 3, abs=0.03)
    assert torch.allclose(share[:, 0], torch.full((3,), 1 / 18, dtype=torch.float64), atol=0.02)
    assert torch.allclose(share[:, 1], torch.full((3,), 1 / 9, dtype=torch.float64), atol=0.02)
    assert torch.allclose(share[:, 2], share[:, 0], atol=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_trivial_augment_changes_each_image_by_a_seed_of_its_own(channels: int) -> None:
    images = pixels(1, (channels, 8, 8)).expand(40, channels, 8, 8)
    spec = AugmentSpec(trivial_augment=True)
    before = torch.get_rng_state()
    out = drawn(images, spec, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(out, drawn(images, spec, 1))
    assert not torch.equal(out, drawn(images, spec, 2))
    assert len(out.flatten(1).unique(dim=0)) > 20  # different operations, of different strength


@given(st.integers(0, 99), st.permutations(range(6)))
@settings(deadline=None, max_examples=20)
def test_a_part_is_augmented_as_in_the_whole(seed: int, rows: list[int]) -> None:
    images, part = pixels(6), torch.tensor(rows[:4])
    draws = draw(EVERYTHING, 6, (3, 5, 4), seeded(seed))
    whole = augment(images, EVERYTHING, draws)
    assert torch.equal(augment(images[part], EVERYTHING, draws.of(part)), whole[part])
    centre_n2 = draws.of(part).centre_n2
    assert centre_n2 is not None and draws.centre_n2 is not None
    blanked = cut_out(whole.float(), 2, draws.centre_n2)
    assert torch.equal(cut_out(whole[part].float(), 2, centre_n2), blanked[part])


def test_nothing_is_drawn_without_augmentation() -> None:
    generator = seeded(4)
    state = generator.get_state()
    for spec in (AugmentSpec(), AugmentSpec(flip="alternate")):
        assert draw(spec, 5, (3, 8, 8), generator) == Draws()
    assert torch.equal(generator.get_state(), state)


def test_cutout_is_a_square_cut_off_at_the_border() -> None:
    out = cut_out(torch.ones(3, 2, 4, 5), 2, torch.tensor([[2, 2], [0, 0], [3, 4]]))
    assert torch.equal(out[:, 0], out[:, 1])
    assert out[0, 0].tolist() == [[1, 1, 1, 1, 1], [1, 0, 0, 1, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 1]]
    assert (out[1, 0] == 0).nonzero().tolist() == [[0, 0]]
    assert (out[2, 0] == 0).nonzero().tolist() == [[2, 3], [2, 4], [3, 3], [3, 4]]


def test_cutout_may_be_anywhere() -> None:
    centres = draw(AugmentSpec(cutout=3), 600, (1, 4, 5), seeded()).centre_n2
    assert centres is not None and centres.shape == (600, 2)
    assert centres[:, 0].unique().tolist() == [0, 1, 2, 3] and centres[:, 1].unique().tolist() == [0, 1, 2, 3, 4]


def test_mixup_by_hand() -> None:
    x, y = mix_up(torch.tensor([4.0, 8.0, 0.0]).view(3, 1, 1, 1), torch.tensor([0, 2, 2]), 3, 0.75)
    assert x.flatten().tolist() == [5.0, 6.0]
    assert y.tolist() == [[0.75, 0, 0.25], [0, 0, 1]]


def test_mixup_draws_from_a_symmetric_beta_distribution() -> None:
    generator = seeded()
    shares = torch.tensor([draw(AugmentSpec(mixup=0.5), 1, (1, 1, 1), generator).mixed for _ in range(4000)])
    # variance of Beta(a, a) is 1 / (4 (2 a + 1))
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.var().item() == pytest.approx(1 / 8, abs=0.01)
