"""Weights of classes against scikit-learn's, and draws in which classes are equally frequent."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from aebnas.data.batches import Batches
from aebnas.data.class_balance import balanced_order, balanced_weights, scaled_weights
from aebnas.data.data_spec import AugmentSpec
from aebnas.data.image_set import ImageSet
from aebnas.runtime.preprocessing import ImageReader, Preprocessing

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80)
UNBALANCED = torch.tensor([0] * 80 + [2] * 15 + [3] * 5)
"""Class 1 has no image."""


@given(LABELS)
def test_balanced_weights_are_those_of_scikit_learn(labels):
    labels_n = torch.tensor(labels)
    weight_k = balanced_weights(labels_n, 8)
    present = np.unique(labels)
    assert weight_k[present].numpy() == pytest.approx(compute_class_weight("balanced", classes=present, y=labels))
    absent = sorted(set(range(8)) - set(labels))
    assert weight_k[absent].tolist() == [1.0] * len(absent)
    assert float(weight_k[labels_n].mean()) == pytest.approx(1.0, rel=1e-5)


@given(LABELS, st.dictionaries(st.integers(0, 5), st.floats(0.01, 100)))
def test_given_weights_keep_their_ratios_and_have_mean_1(labels, weights):
    labels_n = torch.tensor(labels)
    weight_k = scaled_weights(labels_n, 6, weights)
    assert float(weight_k[labels_n].double().mean()) == pytest.approx(1.0, rel=1e-4)
    wanted = np.array([weights.get(label, 1.0) for label in range(6)])
    assert (weight_k / weight_k[0]).numpy() == pytest.approx(wanted / wanted[0], rel=1e-4)


def test_every_class_that_has_images_is_drawn_equally_often():
    drawn = balanced_order(UNBALANCED, 30_000, torch.Generator().manual_seed(1))
    shares = torch.bincount(UNBALANCED[drawn], minlength=4) / 30_000
    assert shares.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3], abs=0.015)
    of_the_rarest = torch.bincount(drawn[drawn >= 95] - 95) / 10_000
    assert of_the_rarest.tolist() == pytest.approx([0.2] * 5, abs=0.02)


def batches(**changes) -> Batches:
    """Images whose pixels are their number."""
    pixels = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(100, 1, 2, 2).contiguous()
    preprocessing = Preprocessing((0.0,), (1 / 255,), ImageReader((1, 2, 2)))
    return Batches(ImageSet.of(pixels, UNBALANCED, 4), preprocessing, AugmentSpec(**changes), 20, balanced=True)


def test_balanced_batches_are_repeatable_and_have_the_usual_number_and_size():
    one, same, other = (list(batches().epoch(torch.Generator().manual_seed(seed))) for seed in (3, 3, 4))
    assert len(one) == 5 and {len(y_n) for _, y_n in one} == {20}
    numbers = [torch.cat([x_nchw[:, 0, 0, 0] for x_nchw, _ in epoch]) for epoch in (one, same, other)]
    assert torch.equal(numbers[0], numbers[1]) and not torch.equal(numbers[0], numbers[2])
    labels_n = torch.cat([y_n for _, y_n in one])
    assert torch.equal(labels_n, UNBALANCED[numbers[0].round().long()])
    assert torch.bincount(labels_n)[3] > 20  # of 5 images


@pytest.mark.parametrize("changes", [{}, {"mixup": 0.4, "flip": True}])
def test_the_shares_of_several_processes_are_the_batch_of_one(changes):
    made = batches(**changes)
    whole = list(made.epoch(torch.Generator().manual_seed(5)))
    shares = [list(made.epoch(torch.Generator().manual_seed(5), rank=rank, world=4)) for rank in range(4)]
    for step, (x_nchw, y_n) in enumerate(whole):
        torch.testing.assert_close(torch.cat([share[step][0] for share in shares]), x_nchw)
        torch.testing.assert_close(torch.cat([share[step][1] for share in shares]), y_n)
