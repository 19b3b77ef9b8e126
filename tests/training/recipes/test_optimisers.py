import pytest
import torch
from torch import nn

from aebnas.runtime.network import Network
from aebnas.space.lowering import lower
from aebnas.training.recipes.optimisers import Optimisers, decoupled
from aebnas.training.training_spec import TrainSpec


@pytest.fixture
def network(two_stages):
    return Network(lower(two_stages.extreme(largest=True)))


def spec(**changes):
    return TrainSpec(**({"epochs": 1, "recipe": "classic"} | changes))


def test_the_decoupled_rate_by_hand():
    """SGD with lr 0.1, weight decay 5e-4 and momentum 0.9 in batches of 128: 1 + 1 / (1 - 0.9) = 11."""
    assert decoupled(spec(), 128) == pytest.approx((0.1, 5e-4))
    assert decoupled(spec(), 512) == pytest.approx((0.4, 5e-4))
    assert decoupled(spec(lr=17.6), 128) == pytest.approx((0.2, 2.5e-4))
    assert decoupled(spec(momentum=0.0), 128) == pytest.approx((0.55, 5e-4))


@pytest.mark.parametrize("batch", [16, 64, 256])
def test_an_epoch_moves_weights_equally_far_whatever_the_batch(batch):
    """With a constant gradient: 50 x 1,024 images at a rate of 8.8 / 11, times 10 for the momentum of 0.9."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    optimisers = Optimisers(layer, spec(weight_decay=0.0), batch)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for _ in range(51200 // batch):
        layer.weight.grad = torch.ones_like(layer.weight)
        optimisers.step(scaler, 1e9)
    assert float(layer.weight.detach()) == pytest.approx(-8.8 / 11 * 50 * 10, rel=0.05)


def test_what_decays_and_what_muon_takes(network):
    optimisers = Optimisers(network, spec(optimiser="muon", norm_bias_lr=8.0), 128)
    group_of = {id(p): g for o in optimisers.optimisers for g in o.param_groups for p in g["params"]}
    kinds = {type(o).__name__: {id(p) for g in o.param_groups for p in g["params"]} for o in optimisers.optimisers}
    assert set(kinds) == {"SGD", "Muon"}
    depthwise = 0
    for name, parameter in network.named_parameters():
        group = group_of[id(parameter)]
        depthwise += parameter.ndim == 4 and parameter.shape[1] == 1
        assert (id(parameter) in kinds["Muon"]) == (parameter.ndim == 4 and parameter.shape[1] > 1), name
        if id(parameter) in kinds["SGD"]:
            assert (group["weight_decay"] > 0) == (parameter.ndim > 1), name
            is_norm_bias = name.endswith("bias") and ".linear." not in name
            assert group["lr"] == pytest.approx(0.8 if is_norm_bias else 0.1), name
    assert len(group_of) == len(list(network.parameters()))
    assert len(optimisers.parameters) == len(group_of)
    assert depthwise  # the largest network has an inverted residual block


def test_all_follow_one_schedule(network):
    optimisers = Optimisers(network, spec(optimiser="muon", schedule="linear", warmup=0.5), 128)
    optimisers.set_progress(0.75)
    rates = sorted({round(g["lr"], 6) for o in optimisers.optimisers for g in o.param_groups})
    assert rates == pytest.approx([0.05, 0.1])  # half of 0.1 for SGD, of 0.2 for Muon
