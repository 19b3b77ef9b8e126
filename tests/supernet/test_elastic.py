"""Slices: first channels, centre of the kernel, for any order of layers."""

import random

import pytest
import torch

from aebnas.runtime.ops import OPS
from aebnas.space.layers import space_layers
from aebnas.supernet.elastic import initialise, parameter_shapes, shared_shapes, slice_to


def test_slice_keeps_first_channels_and_the_kernels_centre():
    weight = torch.arange(3 * 2 * 5 * 5).reshape(3, 2, 5, 5)
    assert torch.equal(slice_to(weight, (2, 1, 3, 3)), weight[:2, :1, 1:4, 1:4])
    assert torch.equal(slice_to(weight, (3, 2, 1, 1)), weight[:, :, 2:3, 2:3])
    assert slice_to(weight, (3, 2, 5, 5)) is weight
    assert torch.equal(slice_to(torch.arange(5), (3,)), torch.tensor([0, 1, 2]))


def test_slices_are_views():
    weight = torch.zeros(4, 4, 3, 3)
    slice_to(weight, (2, 2, 1, 1)).fill_(1)
    assert weight.sum() == 4
    assert (weight[:2, :2, 1, 1] == 1).all()


def test_parameter_shapes_are_those_of_the_module():
    attrs = (("expand", 2.0), ("in_channels", 3), ("kernel", 5), ("out_channels", 4), ("stride", 2))
    module = OPS["mbconv"].build(**dict(attrs))
    assert parameter_shapes("mbconv", attrs) == {name: tuple(p.shape) for name, p in module.named_parameters()}


def test_shared_shapes_are_the_largest_in_an_order_independent_of_that_of_the_layers(bundled):
    """The order of a set of layers depends on the process's string hashes; initial weights must not."""
    layers = list(space_layers(bundled.spec))
    expected = None
    for seed in range(5):
        random.Random(seed).shuffle(layers)
        shapes = [(key, list(of_key.items())) for key, of_key in shared_shapes(layers).items()]
        expected = expected or shapes
        assert shapes == expected
    found = {key: dict(of_key) for key, of_key in expected}
    for layer in layers:
        for name, shape in parameter_shapes(layer.op, layer.attrs).items():
            assert all(small <= large for small, large in zip(shape, found[layer.weights][name], strict=True))


def test_variants_of_an_op_share_weights_and_pools_do_not(make_small):
    """Squeeze-excite and activation are variants; parameters that the plain variant lacks are not read."""
    layers = space_layers(make_small("variants").spec)
    shapes = shared_shapes(layers)
    for op in ("mbconv", "fused_mbconv"):
        key = f"stage1_block1_{op}"
        variants = {(dict(layer.attrs)["se"], dict(layer.attrs)["act"]) for layer in layers if layer.weights == key}
        assert variants == {(se, act) for se in (False, True) for act in ("relu", "hswish")}
        assert shapes[key]["se.reduce.weight"] == (2, 8)  # a quarter of 4 channels expanded by 2
        plain = next(layer for layer in layers if layer.weights == key and not dict(layer.attrs)["se"])
        own = {name for name in shapes[key] if name.startswith("se.")}
        assert set(parameter_shapes(op, plain.attrs)) == set(shapes[key]) - own
    heads = {key for key in shapes if key.startswith("exit_stage1_head")}
    assert heads == {f"exit_stage1_head_depth1_{pool}" for pool in ("avg", "max", "avgmax")}


@pytest.mark.parametrize("op", ["basic", "mbconv", "fused_mbconv"])
def test_initialise_is_uniform_by_fan_in_and_seeded(op):
    attrs = {"in_channels": 32, "out_channels": 64, "kernel": 3, "stride": 1}
    module = OPS[op].build(**attrs, **({} if op == "basic" else {"expand": 2.0}))
    drawn = []
    for seed in (0, 0, 1):
        initialise(module, torch.Generator().manual_seed(seed))
        drawn.append({name: p.detach().clone() for name, p in module.named_parameters()})
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    for name, parameter in drawn[0].items():
        if parameter.ndim == 4:
            assert not torch.equal(parameter, drawn[2][name])
            bound = (parameter.shape[1] * parameter.shape[2] * parameter.shape[3]) ** -0.5
            assert parameter.abs().max().item() == pytest.approx(bound, rel=0.05)
            assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        else:
            assert (parameter == (1.0 if name.endswith("weight") else 0.0)).all()
