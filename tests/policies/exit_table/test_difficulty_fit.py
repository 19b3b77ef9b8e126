"""The constants of the difficulty estimator, fitted on images."""

import numpy as np
import pytest
import torch

from aebnas.data.image_set import ImageSet
from aebnas.policies.exit_table.difficulty_fit import (
    alphas,
    estimator_latency_ms,
    fit_difficulty,
    raw_terms,
)
from aebnas.runtime.difficulty import Difficulty, estimator_macs

DIFFICULTY = Difficulty(0.2, (1.0, 1.0, 1.0))


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 12, 12), generator=generator, dtype=torch.uint8)
    pixels[:10] = 128  # uniform ones
    return ImageSet.of(pixels, torch.zeros(40, dtype=torch.int64), 2)


def test_terms_reach_one_at_their_99th_percentile(images):
    difficulty = fit_difficulty(images)
    terms_n3 = raw_terms(images, difficulty.tau_edge).numpy()
    assert list(difficulty.scales) == pytest.approx(np.percentile(terms_n3, 99, axis=0).tolist())
    alpha_n = alphas(images, difficulty)
    assert (alpha_n[:10] == 0).all() and (alpha_n[10:] > 0.5).all() and alpha_n.max() <= 1
    assert alpha_n.tolist() == difficulty.alpha(images.pixels()).tolist()


def test_uniform_images_give_an_estimator_and_no_images_an_error(images):
    flat = images.subset(torch.arange(10))
    assert fit_difficulty(flat).scales == (1.0, 1.0, 1.0)
    assert (alphas(flat, fit_difficulty(flat)) == 0).all()
    with pytest.raises(ValueError, match="at least one image"):
        fit_difficulty(images.subset(torch.arange(0)))


def test_the_estimators_cost_is_counted_and_its_latency_measured():
    assert estimator_macs((3, 32, 32)) == 32_244
    assert 0 < estimator_latency_ms(DIFFICULTY, (3, 32, 32), calls=3) < 1e4
