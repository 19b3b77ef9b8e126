"""Soft exit distributions and the losses computed from them, against numbers worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from aebnas.training.exits.exit_losses import exit_distribution, expected_cost, halting_loss, reach_weights, soft_stops


def test_the_exit_distribution_by_hand():
    q_ne = exit_distribution(torch.tensor([[0.5, 0.4], [0.0, 1.0], [1.0, 0.3]]))
    expected = torch.tensor([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(q_ne, expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_exit_distribution_sums_to_one(stops):
    q_ne = exit_distribution(torch.tensor(stops))
    torch.testing.assert_close(q_ne.sum(1), torch.ones(len(stops)))
    assert (q_ne >= 0).all()


def test_a_network_without_early_exits_leaves_at_its_last():
    assert exit_distribution(torch.empty(3, 0)).tolist() == [[1.0]] * 3
    assert soft_stops([torch.zeros(3, 2)], 0.5, 0.1).shape == (3, 0)


def test_expected_cost_by_hand():
    # (0.5 * 0.2 + 0.2 * 0.6 + 0.3 * 1 + 1 * 0.2) / 2
    stop_ne = torch.tensor([[0.5, 0.4], [1.0, 0.7]])
    assert expected_cost(stop_ne, torch.tensor([0.2, 0.6, 1.0])).item() == pytest.approx(0.36)


def test_l_policy_raises_early_confidence_and_has_no_effect_on_the_last_exit():
    early, last = torch.zeros(4, 3), torch.zeros(4, 3)
    early[:, 0] = 1.0
    early.requires_grad_(), last.requires_grad_()
    stop_ne = soft_stops([early, last], 0.9, 0.1)
    confidence = torch.tensor([1.0, 0, 0]).softmax(0).max()
    torch.testing.assert_close(stop_ne.detach(), ((confidence - 0.9) / 0.1).sigmoid().expand(4, 1))
    expected_cost(stop_ne, torch.tensor([0.3, 1.0])).backward()
    assert (early.grad[:, 0] < 0).all()  # a gradient step raises the logit of the predicted class
    assert last.grad is None


def test_the_halting_loss_is_the_expected_loss_under_the_stop_heads():
    logits = [torch.tensor([[2.0, 0.0]], requires_grad=True), torch.tensor([[0.0, 1.0]], requires_grad=True)]
    labels_n, stop_ne = torch.tensor([1]), torch.tensor([[0.25]], requires_grad=True)
    by_hand = 0.25 * F.cross_entropy(logits[0], labels_n) + 0.75 * F.cross_entropy(logits[1], labels_n)
    loss = halting_loss(logits, stop_ne, labels_n)
    torch.testing.assert_close(loss, by_hand)
    loss.backward()
    assert stop_ne.grad.item() > 0  # the early exit is wrong: stop less
    assert logits[0].grad is None


def test_class_weights_weight_the_halting_loss_of_their_samples():
    logits, stop_ne = [torch.randn(3, 2) for _ in range(2)], torch.tensor([[0.25], [0.5], [0.75]])
    labels_n, weights = torch.tensor([0, 1, 1]), torch.tensor([1.0, 3.0])
    each = torch.stack(
        [halting_loss([nc[row] for nc in logits], stop_ne[row], labels_n[row]) for row in torch.arange(3)[:, None]]
    )
    torch.testing.assert_close(halting_loss(logits, stop_ne, labels_n, weights), (weights[labels_n] * each).mean())
    mixed_nc = F.one_hot(labels_n, 2).float()
    torch.testing.assert_close(
        halting_loss(logits, stop_ne, mixed_nc, weights), halting_loss(logits, stop_ne, labels_n, weights)
    )


def test_weights_by_reach_by_hand():
    """Of four samples three go past the first exit and one past the second: shares 1, 3/4, 1/4."""
    confident, unsure = [5.0, 0.0], [0.1, 0.0]
    logits = [
        torch.tensor([confident, unsure, unsure, unsure]),
        torch.tensor([unsure, confident, confident, unsure]),
        torch.tensor([unsure] * 4),
    ]
    assert reach_weights(logits, 0.9) == pytest.approx([1 / 2, 3 / 8, 1 / 8])
    assert reach_weights(logits[:1], 0.9) == [1.0]
