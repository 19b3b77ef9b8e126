"""Every op's shape rule against its module."""

import pytest
import torch

from aebnas.runtime.ops import OPS, Add, AvgPool, Basic, Classifier, MBConv, same_padded

WINDOWED = {
    "conv": {"in_channels": 4, "out_channels": 6},
    "basic": {"in_channels": 4, "out_channels": 6},
    "mbconv": {"in_channels": 4, "out_channels": 4, "expand": 1.5},
    "sepconv": {"in_channels": 4, "out_channels": 3},
    "maxpool": {},
    "avgpool": {},
}


def test_every_op_is_tested_here():
    assert set(WINDOWED) | {"add", "classifier"} == set(OPS)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(3, 3), (4, 7), (8, 5), (9, 9)])
@pytest.mark.parametrize("op", WINDOWED)
def test_window_ops_have_the_stated_output_shape(op, size, kernel, stride):
    attrs = WINDOWED[op] | {"kernel": kernel, "stride": stride}
    out = OPS[op](**attrs).eval()(torch.randn(2, 4, *size))
    assert out.shape[1:] == OPS[op].out_shape([(4, *size)], **attrs)


def test_classifier_has_the_stated_output_shape():
    out = Classifier(4, classes=3)(torch.randn(2, 4, 5, 6))
    assert out.shape == (2, 3)
    assert Classifier.out_shape([(4, 5, 6)], in_channels=4, classes=3) == (3, 1, 1)


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_add_sums_any_number_of_inputs(inputs):
    xs = [torch.full((2, 4, 5, 6), float(index + 1)) for index in range(inputs)]
    out = Add()(*xs)
    assert out.shape[1:] == Add.out_shape([(4, 5, 6)] * inputs)
    assert (out == sum(range(1, inputs + 1))).all()


def test_add_refuses_unequal_shapes():
    with pytest.raises(ValueError, match="one shape"):
        Add.out_shape([(4, 5, 6), (4, 5, 5)])


@pytest.mark.parametrize(
    "shape, out_channels, kernel, stride, problem",
    [
        ((4, 8, 8), 4, 4, 1, "kernel must be odd and positive, but got 4"),
        ((4, 8, 8), 4, -1, 1, "kernel must be odd"),
        ((4, 8, 2), 4, 5, 1, "kernel 5 is larger than its 8x2 map can fill"),
        ((4, 2, 8), 4, 1, 3, "stride 3 shrinks a 2x8 map to nothing"),
        ((4, 8, 8), 4, 3, 0, "stride must be at least 1, but got 0"),
        ((0, 8, 8), 4, 3, 1, "channels must be at least 1"),
        ((4, 8, 8), 0, 3, 1, "channels must be at least 1"),
    ],
)
def test_windows_that_make_no_sense_are_refused(shape, out_channels, kernel, stride, problem):
    with pytest.raises(ValueError, match=problem):
        same_padded(shape, out_channels, kernel, stride)


def test_shortcuts_are_there_where_the_shape_allows():
    x = torch.rand(1, 4, 6, 6)
    for block in (Basic(4, 4, 3, 1).eval(), MBConv(4, 4, 3, 1, 2.0).eval()):
        for name, parameter in block.named_parameters():
            if name.startswith(("conv2.1", "project.1")):
                torch.nn.init.zeros_(parameter)  # the residual branch gives 0
        assert torch.equal(block(x), x)
    assert not MBConv(4, 4, 3, 2, 2.0).residual
    assert not MBConv(4, 6, 3, 1, 2.0).residual


def test_average_pool_leaves_padding_out():
    assert torch.allclose(AvgPool(3, 1)(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))
