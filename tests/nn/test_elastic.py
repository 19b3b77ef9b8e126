"""Slices: first channels, centre of the kernel, whatever order layers come in."""

import random

import pytest
import torch

from aebnas.nn.elastic import initialise, parameter_shapes, shared_shapes, slice_to
from aebnas.runtime.ops import OPS
from aebnas.space.layers import space_layers


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
    module = OPS["mbconv"](**dict(attrs))
    assert parameter_shapes("mbconv", attrs) == {name: tuple(p.shape) for name, p in module.named_parameters()}


def test_shared_shapes_are_the_largest_and_in_one_order_whatever_order_layers_come_in(bundled):
    """Sets of layers are ordered by the process's string hashes; first weights must not be."""
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


@pytest.mark.parametrize("op", ["basic", "mbconv"])
def test_initialise_is_uniform_by_fan_in_and_seeded(op):
    attrs = {"in_channels": 32, "out_channels": 64, "kernel": 3, "stride": 1}
    module = OPS[op](**attrs, **({"expand": 2.0} if op == "mbconv" else {}))
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
