import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aebnas.training.recipes.averaging import WeightAverage
from aebnas.training.training_spec import TrainSpec


def small_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 2))


def change(module: nn.Module, seed: int) -> None:
    """As a training step does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in module.parameters():
            weights += torch.randn(weights.shape, generator=generator)


def spec(**changes) -> TrainSpec:
    return TrainSpec(**({"epochs": 1, "ema": 0.0, "lookahead": 0} | changes))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 0.999), st.integers(1, 30))
def test_the_moving_average_is_that_of_a_plain_loop(decay: float, steps: int) -> None:
    trained = small_module()
    average = WeightAverage(trained, spec(ema=decay))
    expected: list[torch.Tensor] = []
    for step in range(1, steps + 1):
        change(trained, step)
        average.update(step / steps)
        now = min(decay, step / (9 + step))
        current = [weights.detach().clone() for weights in trained.parameters()]
        expected = current if step == 1 else [now * a + (1 - now) * b for a, b in zip(expected, current, strict=True)]
    for found, wanted in zip(average.module.parameters(), expected, strict=True):
        torch.testing.assert_close(found.detach(), wanted)
    assert average.module is not trained


def test_lookahead_by_hand() -> None:
    """Every second step the weights move back: slow += (1 - 0.95^2 progress^3) (fast - slow)."""
    trained = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(trained.weight)
    average = WeightAverage(trained, spec(lookahead=2))
    seen = []
    for progress in (0.25, 0.5, 0.75, 1.0):
        with torch.no_grad():
            trained.weight += 1.0
        average.update(progress)
        seen.append(float(trained.weight.detach()))
    first = (1 - 0.95**2 * 0.5**3) * 2
    last = first + (1 - 0.95**2) * 2
    assert seen == pytest.approx([1.0, first, first + 1, last])
    assert average.module is trained


@pytest.mark.parametrize("changes", [{"ema": 0.9}, {"lookahead": 3}, {}])
def test_its_state_goes_on_where_it_was_saved(changes) -> None:
    trained = small_module()
    whole = WeightAverage(trained, spec(**changes))
    for step in range(4):
        change(trained, step)
        whole.update(step / 8)
    copied = copy.deepcopy(trained)
    resumed = WeightAverage(copied, spec(**changes))
    resumed.load_state_dict(whole.state_dict())
    for step in range(4, 8):
        for module, average in ((trained, whole), (copied, resumed)):
            change(module, step)
            average.update(step / 8)
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_trained_weights_stay_with_a_moving_average() -> None:
    trained = small_module()
    average = WeightAverage(trained, spec(ema=0.9))
    for step in range(3):
        change(trained, step)
        before = [weights.clone() for weights in trained.parameters()]
        average.update(step / 3)
        assert all(map(torch.equal, trained.parameters(), before))
    assert not any(map(torch.equal, trained.parameters(), average.module.parameters()))
