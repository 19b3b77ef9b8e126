import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aebnas.training.weight_average import WeightAverage


def small_module() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 2))
    return module.to(memory_format=torch.channels_last)


def change(module: nn.Module, seed: int) -> None:
    """As a training step does: weights and norm statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor += torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else 1


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 0.999), st.integers(0, 30), st.integers(0, 30))
def test_it_has_the_state_of_torchs_average_and_goes_on_from_it(decay: float, before: int, after: int) -> None:
    def starting(averaged: object, current: object, updates: torch.Tensor) -> None:
        steps = float(updates)
        get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))(averaged, current, updates)  # type: ignore[arg-type]

    trained = small_module()
    torchs, ours = AveragedModel(trained, multi_avg_fn=starting), WeightAverage(trained, decay)
    for step in range(before):
        change(trained, step)
        torchs.update_parameters(trained)
        ours.update()
    resumed = WeightAverage(trained, decay)
    resumed.load_state_dict(torchs.state_dict())  # a training that an earlier version of aebnas began
    for step in range(after):
        change(trained, step)
        for update in (lambda: torchs.update_parameters(trained), ours.update, resumed.update):
            update()
    expected = torchs.state_dict()
    for average in (ours, resumed):
        found = average.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_the_trained_module_keeps_its_weights() -> None:
    trained = small_module()
    average = WeightAverage(trained, 0.9)
    for step in range(3):
        change(trained, step)
        before = [weights.clone() for weights in trained.parameters()]
        average.update()
        assert all(map(torch.equal, trained.parameters(), before))
    assert not any(map(torch.equal, trained.parameters(), average.module.parameters()))
