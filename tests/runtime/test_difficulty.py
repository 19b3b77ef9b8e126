"""The difficulty of images against numbers worked out by hand, its independence of the batch, and its cost."""

import json

import pytest
import torch

from aebnas.runtime.difficulty import Difficulty, estimator_macs, gradient_magnitude, terms


def grey(rows):
    return torch.tensor(rows, dtype=torch.uint8)[None, None]


def random_pixels(count=20, channels=3, side=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


def test_a_uniform_image_has_a_difficulty_of_zero():
    assert terms(torch.full((1, 3, 5, 5), 200, dtype=torch.uint8), 0.0).tolist() == [[0.0, 0.0, 0.0]]


def test_the_terms_of_a_step_by_hand():
    # one inner column of four is left of the step, one right of it: Gx = 4 * 255 on both, Gy = 0
    step = grey([[0, 0, 255, 255]] * 4)
    assert gradient_magnitude(step).item() == pytest.approx(4.0)
    edge, variance, fine = terms(step, 3.9)[0].tolist()
    assert edge == 1.0
    assert terms(step, 4.0)[0, 0].item() == 0.0  # greater than, not equal
    assert variance == pytest.approx(0.25)
    # the Laplacian is 1 left of the step and -1 right of it
    assert fine == pytest.approx(1.0)


def test_the_gradient_term_of_a_texture_by_hand_does_not_depend_on_brightness():
    """Four neighbours less four times the centre, at the inner pixels of a 4 x 4 image."""
    rows = [[10, 20, 30, 10], [20, 40, 10, 30], [30, 10, 50, 20], [10, 30, 20, 60]]
    # inner pixels 40, 10, 10, 50: |20+10+20+10 - 160|, |30+50+40+30 - 40|, |40+30+30+50 - 40|, |10+20+10+20 - 200|
    want = (100 + 110 + 110 + 140) / 4 / 255
    dark, bright = (terms(grey(rows) + more, 0.1)[0] for more in (0, 150))
    assert dark[2].item() == pytest.approx(want) and bright.tolist() == dark.tolist()
    # twice the contrast gives twice the term
    assert terms(grey(rows) * 2, 0.1)[0, 2].item() == pytest.approx(2 * want)


def test_terms_agree_with_a_plain_floating_point_computation():
    pixels = random_pixels(6)
    x = pixels.double() / 255
    i = (x * torch.tensor([77, 150, 29]).double().view(1, 3, 1, 1) / 256).sum(1, keepdim=True)
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]).double()[None, None]
    laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).double()[None, None]
    conv = torch.nn.functional.conv2d
    g = (conv(i, sobel) ** 2 + conv(i, sobel.mT) ** 2).sqrt()
    tau = g.mean().item()
    fine = conv(i, laplacian).abs()
    want = torch.stack(
        [(g > tau).double().mean((1, 2, 3)), x.var((2, 3), correction=0).mean(1), fine.mean((1, 2, 3))], 1
    )
    assert torch.allclose(terms(pixels, tau), want, atol=1e-9)
    assert torch.allclose(gradient_magnitude(pixels), g.mean((1, 2, 3)))


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 32), (3, 200)])
def test_the_difficulty_of_an_image_does_not_depend_on_the_batch(channels, side):
    pixels = random_pixels(5, channels, side)
    difficulty = Difficulty(0.5, (0.8, 0.1, 0.3))
    one_by_one = torch.cat([difficulty.alpha(image[None]) for image in pixels])
    assert torch.equal(difficulty.alpha(pixels), one_by_one)
    assert torch.equal(difficulty.alpha(pixels.to(memory_format=torch.channels_last)), one_by_one)
    assert one_by_one.dtype == torch.float32


def test_alpha_is_the_weighted_sum_of_terms_in_the_unit_interval():
    difficulty = Difficulty(1.0, (0.5, 0.2, 0.1), (0.4, 0.3, 0.3))
    mixed = difficulty.mix(torch.tensor([[0.25, 0.1, 0.05], [0.25, 1.0, 0.0], [9.0, 9.0, 9.0]], dtype=torch.float64))
    assert mixed.tolist() == pytest.approx([0.5, 0.4 * 0.5 + 0.3, 1.0])


def test_the_cost_by_hand_is_within_the_published_budget():
    # 3 * 1024 for grey, 27 * 900 for the windows, 2 * 900 for squares, 3 * 1024 for the variance
    assert estimator_macs((3, 32, 32)) == 3072 + 24300 + 1800 + 3072
    assert estimator_macs((3, 32, 32)) <= 39_500
    assert estimator_macs((1, 8, 8)) == 29 * 36 + 64


def test_json_round_trip():
    difficulty = Difficulty(0.25, (0.5, 0.2, 0.1))
    assert Difficulty.from_json(json.loads(json.dumps(difficulty.to_json()))) == difficulty


@pytest.mark.parametrize(
    "version, problem",
    [
        ({}, "the difficulty was fitted with the earlier gradient term; calibrate the run again"),
        ({"terms_version": 3}, "terms_version must be 2, but got 3"),
    ],
)
def test_constants_fitted_to_other_terms_are_refused(version, problem):
    recorded = {"tau_edge": 0.55, "scales": [0.65, 0.12, 0.12], "weights": [0.4, 0.3, 0.3]}
    with pytest.raises(ValueError, match=problem):
        Difficulty.from_json(recorded | version)


@pytest.mark.parametrize(
    "arguments, problem",
    [
        ((-1.0, (1.0, 1.0, 1.0)), "tau_edge must be finite"),
        ((1.0, (1.0, 0.0, 1.0)), "scales must be three positive numbers"),
        ((1.0, (1.0, 1.0, 1.0), (0.5, 0.5, 0.5)), "weights must be three numbers"),
    ],
)
def test_invalid_constants_are_refused(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        Difficulty(*arguments)


@pytest.mark.parametrize(
    "pixels", [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 2, 8, dtype=torch.uint8), torch.zeros(1, 0, 8, 8).byte()]
)
def test_other_images_are_refused(pixels):
    with pytest.raises(ValueError, match="images must be uint8"):
        Difficulty(1.0, (1.0, 1.0, 1.0)).alpha(pixels)


def test_noise_has_a_higher_difficulty_than_blurred_noise():
    pixels = random_pixels(4)
    smooth = torch.nn.functional.avg_pool2d(pixels.float(), 5, 1, 2).byte()
    difficulty = Difficulty(gradient_magnitude(pixels).mean().item(), (1.0, 0.2, 1.0))
    assert (difficulty.alpha(smooth) < difficulty.alpha(pixels)).all()
