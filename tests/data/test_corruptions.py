"""Corruptions: what each does to pixel values, severities in order, and independence of reading order."""

import math

import numpy as np
import pytest
import torch

from aebnas.data.corruptions import BLUR_STD, CONTRAST, CORRUPTIONS, NOISE_STD, SEVERITIES, corrupt_images
from aebnas.data.image_set import ImageSet


def images(count=12, side=16):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    return ImageSet.of(pixels, torch.arange(count) % 3, 3)


def distance(a, b):
    return (a.pixels().float() - b.pixels().float()).abs().mean().item()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_severity_changes_more_than_the_one_before_and_labels_are_unchanged(kind):
    given = images()
    corrupted = [corrupt_images(given, kind, severity) for severity in SEVERITIES]
    changes = [distance(given, one) for one in corrupted]
    assert 0 < changes[0] < changes[1] < changes[2]
    assert all(torch.equal(one.labels, given.labels) and one.shape == given.shape for one in corrupted)
    assert corrupted[0].pixels().dtype == torch.uint8


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_an_image_is_corrupted_equally_in_any_subset(kind):
    corrupted = corrupt_images(images(), kind, 2, seed=5)
    whole = corrupted.pixels()
    assert torch.equal(corrupted.pixels([7, 2]), whole[[7, 2]])
    assert torch.equal(corrupted.subset(torch.tensor([3, 9, 1])).pixels([1]), whole[[9]])
    assert torch.equal(corrupted.subset(torch.tensor([3, 9])).subset(torch.tensor([1])).pixels(), whole[[9]])


def test_noise_has_the_stated_std_and_depends_on_the_seed():
    flat = ImageSet.of(torch.full((20, 1, 32, 32), 128, dtype=torch.uint8), torch.zeros(20, dtype=torch.int64), 2)
    for severity, std in zip(SEVERITIES, NOISE_STD, strict=True):
        noisy = corrupt_images(flat, "gaussian_noise", severity).pixels().float()
        assert noisy.std().item() / 255 == pytest.approx(std, rel=0.05)
    one, other = (corrupt_images(flat, "gaussian_noise", 1, seed).pixels() for seed in (1, 2))
    assert not torch.equal(one, other)


def test_contrast_and_blur_by_hand():
    column = torch.tensor([0, 200], dtype=torch.uint8).repeat(8)
    stripes = ImageSet.of(column.expand(1, 1, 16, 16).contiguous(), torch.zeros(1, dtype=torch.int64), 2)
    reduced = corrupt_images(stripes, "contrast", 3).pixels()
    assert reduced[0, 0, 0, :2].tolist() == [round(100 - 100 * CONTRAST[2]), round(100 + 100 * CONTRAST[2])]
    flat = ImageSet.of(torch.full((1, 1, 8, 8), 77, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), 2)
    assert (corrupt_images(flat, "blur", 3).pixels() == 77).all()
    spreads = [
        float(np.std(corrupt_images(stripes, "blur", severity).pixels()[..., 5:-5].numpy())) for severity in SEVERITIES
    ]
    assert 100 > spreads[0] > spreads[1] > spreads[2]


def test_contrast_moves_colours_towards_their_mean_grey_value():
    """As torchvision and Pillow weight red, green and blue."""
    colour = torch.tensor([250, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4).contiguous()
    given = ImageSet.of(colour, torch.zeros(1, dtype=torch.int64), 2)
    grey = 0.2989 * 250 + 0.587 * 100 + 0.114 * 50
    want = [grey + (value - grey) * CONTRAST[1] for value in (250, 100, 50)]
    found = corrupt_images(given, "contrast", 2).pixels()[0, :, 0, 0]
    assert found.tolist() == pytest.approx(want, abs=0.51)


def test_contrast_moves_channels_that_are_no_colours_towards_their_own_means():
    pixels = torch.tensor([[10, 30], [100, 140], [0, 250], [7, 7]], dtype=torch.uint8).view(1, 4, 1, 2)
    found = corrupt_images(ImageSet.of(pixels, torch.zeros(1, dtype=torch.int64), 2), "contrast", 1).pixels()
    mean = pixels.float().mean((2, 3), keepdim=True)
    assert torch.equal(found, (mean + CONTRAST[0] * (pixels - mean)).round().byte())


def test_images_that_are_not_square_are_blurred_alike_along_both_axes():
    """A line is blurred as far across it, whichever way the image lies; the window is cut at the shorter side only."""
    line = torch.zeros(1, 2, 5, 60, dtype=torch.uint8)
    line[:, :, :, 30] = 255
    for pixels, axis in ((line, 3), (line.transpose(2, 3).contiguous(), 2)):
        given = ImageSet.of(pixels, torch.zeros(1, dtype=torch.int64), 2)
        blurred = corrupt_images(given, "blur", 3).pixels().amax((0, 1, 5 - axis))
        assert (blurred > 0).nonzero()[:, 0].tolist() == [*range(26, 35)]  # 3 * 1.5 pixels, less what rounds to 0


def test_blur_spreads_a_point_by_the_stated_deviation_in_proportion_to_the_side():
    for side in (33, 65):
        point = torch.zeros(1, 1, side, side, dtype=torch.uint8)
        point[0, 0, side // 2, side // 2] = 255
        blurred = corrupt_images(ImageSet.of(point, torch.zeros(1, dtype=torch.int64), 2), "blur", 1).pixels()
        std = BLUR_STD[0] * side / 32
        peak = 255 * (1 / sum(np.exp(-(np.arange(-9, 10) ** 2) / (2 * std**2)))) ** 2
        assert blurred.max().item() == pytest.approx(peak, abs=1)
        assert torch.equal(blurred, blurred.transpose(2, 3))


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 3, 3), (3, 4, 4), (1, 1, 9), (2, 9, 2), (12, 3, 5)])
def test_the_smallest_images_can_be_corrupted(kind, shape):
    pixels = torch.arange(12 * math.prod(shape)).reshape(12, *shape).byte()
    given = ImageSet.of(pixels, torch.zeros(12, dtype=torch.int64), 2)
    assert corrupt_images(given, kind, 3).pixels().shape == (12, *shape)


def test_global_generator_is_left_as_it_was():
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    corrupt_images(images(), "gaussian_noise", 1).pixels()
    assert torch.equal(torch.rand(2), want)


@pytest.mark.parametrize("kind, severity", [("fog", 1), ("blur", 0), ("blur", 4)])
def test_unknown_corruptions_are_refused(kind, severity):
    with pytest.raises(ValueError, match=f"but got {kind} at {severity}"):
        corrupt_images(images(), kind, severity)
