"""The FLOP of single layers: by hand, against their cost rules, and for ops that have no layers of torch's."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from aebnas.core.errors import UserError
from aebnas.cost.counts import count_layer
from aebnas.runtime.cost_rules import Counts
from aebnas.runtime.ops import OPS, Op
from aebnas.runtime.shape_rules import equal
from aebnas.space.layers import space_layers
from aebnas.space.spec import SpaceSpec
from aebnas.training.compute.layer_flop import layer_flop, module_flop

NONE: frozenset[str] = frozenset()
SPACE = {
    "input": {"channels": 3, "resolution": [8, 12]},
    "classes": 5,
    "stem": {"width": [4, 6]},
    "stages": [
        {
            "width": [4, 6],
            "depth": 1,
            "stride": [1, 2],
            "op": ["basic", "mbconv", "fused_mbconv", "sepconv", "conv", "skip"],
            "kernel": [1, 3],
            "expand": [1, 2],
            "se": [True, False],
        }
    ],
    "exits": {"depth": [0, 1], "layer": ["conv", "maxpool"]},
}


def attrs(**values):
    return tuple(sorted(values.items()))


def test_a_convolution_by_hand():
    conv = attrs(in_channels=3, out_channels=4, kernel=3, stride=2)
    macs = 4 * 3 * 9 * 16  # 8 x 8 pixels give 4 x 4
    of_image = layer_flop("conv", conv, ((3, 8, 8),), (False,), NONE)
    assert (of_image.forward, of_image.backward, of_image.needs_gradient) == (2 * macs, 2 * macs, True)
    inside = layer_flop("conv", conv, ((3, 8, 8),), (True,), NONE)
    assert (inside.forward, inside.backward, inside.reaches) == (2 * macs, 4 * macs, (True,))
    weights, norms = frozenset({"conv.0.weight"}), frozenset({"conv.1.weight", "conv.1.bias"})
    whitening = layer_flop("conv", conv, ((3, 8, 8),), (False,), weights)
    assert (whitening.backward, whitening.needs_gradient) == (0, True)
    frozen = layer_flop("conv", conv, ((3, 8, 8),), (False,), weights | norms)
    assert (frozen.backward, frozen.needs_gradient) == (0, False)
    assert layer_flop("conv", conv, ((3, 8, 8),), (True,), weights | norms).backward == 2 * macs


def test_the_first_convolutions_of_a_block_have_no_gradient_of_an_image():
    basic = attrs(in_channels=3, out_channels=4, kernel=3, stride=1)
    first, second, shortcut = (64 * 4 * weights for weights in (3 * 9, 4 * 9, 3))
    found = layer_flop("basic", basic, ((3, 8, 8),), (False,), NONE)
    assert found.forward == 2 * (first + second + shortcut)
    assert found.backward == 2 * (first + 2 * second + shortcut)


def test_every_layer_of_a_space_costs_six_flop_a_mac_where_all_gradients_are_computed():
    seen = set()
    for layer in space_layers(SpaceSpec.model_validate(SPACE)):
        counts = count_layer(layer.op, layer.in_shape, layer.out_shape, dict(layer.attrs))
        flop = layer_flop(layer.op, layer.attrs, (layer.in_shape,), (True,), NONE)
        assert flop.forward == 2 * counts.macs and flop.backward == 4 * counts.macs
        seen.add(layer.op)
    assert seen >= {"conv", "sepconv", "basic", "mbconv", "fused_mbconv", "resize", "classifier"}


class Product(nn.Module):
    """A layer whose multiply-adds are in no layer of torch's."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(in_channels, in_channels))

    def forward(self, x_nchw):
        return functional.linear(x_nchw.mean((2, 3)), self.matrix)[:, :, None, None] + x_nchw


class Detached(nn.Module):
    """The sum of two inputs, the second of which gets no gradient."""

    def forward(self, x_nchw, other):
        return x_nchw + other.detach()


def counts_of_product(in_shape, out, given):
    return Counts(in_shape[0] ** 2, in_shape[0] ** 2)


@pytest.fixture
def own_ops(monkeypatch):
    monkeypatch.setitem(OPS, "product", Op(Product, equal, counts_of_product, ("in_channels",)))
    monkeypatch.setitem(OPS, "detached", replace(OPS["add"], module=Detached))
    yield
    layer_flop.cache_clear()


def test_an_own_op_is_charged_by_its_cost_rule(own_ops):
    product = attrs(in_channels=4)
    assert layer_flop("product", product, ((4, 2, 2),), (False,), NONE)[:2] == (2 * 16, 2 * 16)
    assert layer_flop("product", product, ((4, 2, 2),), (True,), NONE)[:2] == (2 * 16, 4 * 16)
    assert layer_flop("product", product, ((4, 2, 2),), (True,), frozenset({"matrix"}))[:2] == (2 * 16, 2 * 16)


def test_a_gradient_does_not_pass_a_detached_input(own_ops):
    both = ((4, 2, 2), (4, 2, 2))
    assert layer_flop("add", (), both, (True, True), NONE).reaches == (True, True)
    assert layer_flop("detached", (), both, (True, True), NONE).reaches == (True, False)
    detached = layer_flop("detached", (), both, (False, True), NONE)
    assert not detached.needs_gradient and detached.reaches == (False, False)


def test_an_imported_module_is_charged_with_what_its_node_states():
    stated = attrs(out_shape=(4, 2, 2), macs=100, params=7, norm_channels=0)
    assert layer_flop("module", stated, ((3, 8, 8),), (False,), NONE)[:3] == (200, 200, True)
    assert layer_flop("module", stated, ((3, 8, 8),), (True,), NONE)[:3] == (200, 400, True)
    without = attrs(out_shape=(4, 2, 2), macs=100, params=0, norm_channels=0)
    assert layer_flop("module", without, ((3, 8, 8),), (False,), NONE)[:3] == (200, 0, False)


def test_an_unknown_op_is_an_error():
    with pytest.raises(UserError, match="op must be one with a cost rule"):
        layer_flop("magic", (), ((3, 8, 8),), (True,), NONE)


def test_a_module_is_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    conv, linear = 4 * 3 * 9 * 36, 4 * 36 * 5
    assert module_flop(network, (3, 8, 8)) == 2 * (2 * conv + 3 * linear)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(part._forward_hooks for part in network.modules())
