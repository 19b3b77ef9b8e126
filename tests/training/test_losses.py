import pytest
import torch
from torch.nn import functional as F

from aebnas.training.losses import label_loss, multi_exit_loss, probabilities, self_distillation_loss, teacher


def random_logits(seed: int, n: int = 6, c: int = 5) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def test_the_loss_is_the_weighted_cross_entropy():
    a, b, labels_n = random_logits(1), random_logits(2), torch.tensor([0, 1, 2, 3, 4, 0])
    expected = 0.25 * F.cross_entropy(a, labels_n, label_smoothing=0.1)
    expected = expected + 0.75 * F.cross_entropy(b, labels_n, label_smoothing=0.1)
    torch.testing.assert_close(multi_exit_loss([a, b], labels_n, [0.25, 0.75], 0.1, None, 0.5), expected)


def test_label_smoothing_by_hand():
    logits_nc, labels_n = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    minus_log_p = -torch.tensor([1.0, 0.0]).log_softmax(0)
    expected = 0.9 * minus_log_p[0] + 0.1 * minus_log_p[1]  # a smoothing of 0.2 over two classes
    torch.testing.assert_close(multi_exit_loss([logits_nc], labels_n, [1.0], 0.2, None, 0.0), expected)


def test_the_loss_of_mixed_labels_is_the_mixture_of_losses():
    logits, one_n, other_n = random_logits(1), torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([4, 4, 2, 1, 0, 3])
    mixed_nc = 0.3 * F.one_hot(one_n, 5).float() + 0.7 * F.one_hot(other_n, 5).float()
    teacher_nc = probabilities(random_logits(2))
    mixed, one, other = (multi_exit_loss([logits], y, [1.0], 0.1, teacher_nc, 0.5) for y in (mixed_nc, one_n, other_n))
    torch.testing.assert_close(mixed, 0.3 * one + 0.7 * other)


def test_distillation_has_the_gradient_of_the_kl_divergence():
    student, labels_n = random_logits(1), torch.tensor([0, 1, 2, 3, 4, 0])
    teacher_nc = probabilities(random_logits(2))
    loss = multi_exit_loss([student], labels_n, [1.0], 0.0, teacher_nc, 0.3)
    (gradient,) = torch.autograd.grad(loss, student)
    kl = F.kl_div(student.log_softmax(-1), teacher_nc, reduction="batchmean")
    (expected,) = torch.autograd.grad(0.7 * F.cross_entropy(student, labels_n) + 0.3 * kl, student)
    torch.testing.assert_close(gradient, expected)


def test_without_distillation_the_teacher_is_ignored():
    student, labels_n = random_logits(1), torch.tensor([0, 1, 2, 3, 4, 0])
    teacher_nc = probabilities(random_logits(2))
    without_teacher = multi_exit_loss([student], labels_n, [1.0], 0.1, None, 0.0)
    torch.testing.assert_close(multi_exit_loss([student], labels_n, [1.0], 0.1, teacher_nc, 0.0), without_teacher)


def test_a_teacher_gets_no_gradient():
    teacher = random_logits(2)
    assert not probabilities(teacher).requires_grad
    torch.testing.assert_close(probabilities(teacher).sum(-1), torch.ones(6))


def test_the_loss_of_half_precision_logits_is_computed_in_fp32():
    logits_nc, labels_n = random_logits(1), torch.tensor([0, 1, 2, 3, 4, 0])
    loss = multi_exit_loss([logits_nc.bfloat16()], labels_n, [1.0], 0.0, None, 0.0)
    assert loss.dtype == torch.float32


def test_the_last_exit_teaches_the_others_and_learns_from_labels():
    labels_n, early, last = torch.tensor([0, 1, 2, 0, 1, 2]), random_logits(1), random_logits(2)
    hard = F.cross_entropy(early, labels_n), F.cross_entropy(last, labels_n)
    soft = F.cross_entropy(early, last.softmax(-1))
    expected = 0.4 * (0.7 * hard[0] + 0.3 * soft) + 0.6 * hard[1]
    torch.testing.assert_close(self_distillation_loss([early, last], labels_n, [0.4, 0.6], 0.0, 0.3), expected)
    torch.testing.assert_close(self_distillation_loss([last], labels_n, [1.0], 0.0, 0.3), hard[1])


WEIGHTS = torch.tensor([1.0, 3.0, 1.0, 2.0, 1.0])
LABELS = torch.tensor([0, 1, 2, 3, 1, 0])
REPEATED = torch.tensor([0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5])
"""Samples of LABELS, each as often as its class weighs."""


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("distillation", [0.0, 0.4])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_weight_is_as_if_samples_of_its_class_were_repeated(smoothing, distillation, mixed):
    """With labels, smoothed ones, a teacher, and labels as probabilities alike."""
    logits_nc, teacher_nc = random_logits(1), probabilities(random_logits(2))
    labels = F.one_hot(LABELS, 5).float() if mixed else LABELS

    def loss(rows, class_weights):
        arguments = [1.0], smoothing, teacher_nc[rows], distillation, class_weights
        return multi_exit_loss([logits_nc[rows]], labels[rows], *arguments)

    weighted, repeated = loss(torch.arange(6), WEIGHTS), loss(REPEATED, None)
    torch.testing.assert_close(weighted, repeated * len(REPEATED) / 6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_loss_of_mixed_labels_is_the_mixture_of_losses(smoothing):
    logits_nc, other_n = random_logits(1), torch.tensor([4, 4, 2, 1, 0, 3])
    mixed_nc = 0.3 * F.one_hot(LABELS, 5).float() + 0.7 * F.one_hot(other_n, 5).float()
    mixed, one, other = (label_loss(logits_nc, y, smoothing, WEIGHTS) for y in (mixed_nc, LABELS, other_n))
    torch.testing.assert_close(mixed, 0.3 * one + 0.7 * other)


def test_the_weighted_losses_of_shares_of_a_batch_average_to_that_of_the_batch():
    logits_nc = random_logits(3)
    halves = [label_loss(logits_nc[part], LABELS[part], 0.1, WEIGHTS) for part in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(sum(halves) / 2, label_loss(logits_nc, LABELS, 0.1, WEIGHTS))


def test_equal_weights_change_nothing():
    logits, labels_n = [random_logits(1), random_logits(2)], LABELS
    plain, weighted = (
        self_distillation_loss(logits, labels_n, [0.4, 0.6], 0.1, 0.3, weights) for weights in (None, torch.ones(5))
    )
    torch.testing.assert_close(weighted, plain)


def test_the_ensemble_teaches_all_exits_by_hand():
    """(1 - d) CE(labels) + d CE(softmax of the mean logits), for every exit."""
    logits = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])]
    labels_n, weights, share = torch.tensor([1]), [0.25, 0.75], 0.4
    mean_nc = torch.tensor([[0.5, 1.0]]).softmax(-1)
    expected = 0.0
    for weight, exit_nc in zip(weights, logits, strict=True):
        log_nc = exit_nc.log_softmax(-1)
        expected += weight * (-(1 - share) * log_nc[0, 1] - share * (mean_nc * log_nc).sum())
    found = self_distillation_loss(logits, labels_n, weights, 0.0, share, distil_from="ensemble")
    assert float(found) == pytest.approx(float(expected))
    assert torch.equal(teacher(logits, "ensemble"), mean_nc)
    assert torch.equal(teacher(logits, "last"), logits[1].softmax(-1))


def test_neither_teacher_has_a_gradient():
    logits = [torch.randn(3, 4, requires_grad=True) for _ in range(2)]
    assert not any(teacher(logits, kind).requires_grad for kind in ("last", "ensemble"))
