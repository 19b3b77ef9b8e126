"""The contenders of the equal-minutes benchmark: ours are charged as everywhere, and late exits join in late."""

import pytest
import torch

from aebnas.cost.counts import count_graph
from aebnas.space.lowering import lower
from aebnas.training.training_spec import TrainSpec


@pytest.fixture
def hand_made(benchmark):
    contenders = benchmark("contenders")
    return contenders.SearchSpace.load(contenders.HAND_MADE).extreme(largest=True)


@pytest.mark.parametrize("name", ["searched", "late exits"])
def test_contenders_have_the_macs_of_their_architecture(benchmark, hand_made, name):
    contender = benchmark("contenders").CONTENDERS[name](hand_made, "linear", seed=0)
    assert contender.macs == count_graph(lower(hand_made)).macs
    assert contender.loss_weights == pytest.approx((1 / 6, 2 / 6, 3 / 6))


def test_the_backbone_without_exits_has_one_exit(benchmark, hand_made):
    contender = benchmark("contenders").CONTENDERS["without exits"](hand_made, "linear", seed=0)
    assert len(contender.macs.branch_e) == 1 and contender.loss_weights == (1.0,)


def test_late_exits_learn_in_the_second_half_only(benchmark, hand_made, rng):
    contender = benchmark("contenders").CONTENDERS["late exits"](hand_made, "linear", seed=0)
    task = benchmark("equal_minutes").JointTask(contender, TrainSpec(epochs=5, batch_size=4))
    x_nchw, labels_n = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    for progress, learns in [(0.0, False), (0.49, False), (0.5, True), (0.99, True)]:
        task.begin_step(progress)
        contender.module.zero_grad()
        sum(task.losses(x_nchw, labels_n, rng)).backward()
        first = next(p for name, p in contender.module.named_parameters() if "exit_stage1" in name)
        assert bool(first.grad.abs().sum() > 0) == learns
