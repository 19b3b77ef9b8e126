"""Every op's shape rule against its module."""

import inspect

import pytest
import torch

from aebnas.runtime import conv_norm as base
from aebnas.runtime import shape_rules as shapes
from aebnas.runtime.blocks import Basic, FusedMBConv, MBConv, SqueezeExcite
from aebnas.runtime.conv_norm import conv_norm
from aebnas.runtime.ops import OPAQUE, OPS
from aebnas.runtime.shape_rules import same_padded
from aebnas.runtime.simple_layers import GLOBAL_POOLS, Add, AvgPool, Classifier, Resize

WINDOWED = {
    "conv": {"in_channels": 4, "out_channels": 6},
    "basic": {"in_channels": 4, "out_channels": 6},
    "mbconv": {"in_channels": 4, "out_channels": 4, "expand": 1.5},
    "fused_mbconv": {"in_channels": 4, "out_channels": 4, "expand": 1.5, "se": True, "act": "hswish"},
    "sepconv": {"in_channels": 4, "out_channels": 3},
    "maxpool": {},
    "avgpool": {},
}


def test_every_op_is_tested_here():
    assert set(WINDOWED) | {"add", "classifier", "resize"} | {"choice", "boost", OPAQUE} == set(
        OPS
    )  # see test_choice, test_boosted


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(3, 3), (4, 7), (8, 5), (9, 9)])
@pytest.mark.parametrize("op", WINDOWED)
def test_window_ops_have_the_stated_output_shape(op, size, kernel, stride):
    attrs = WINDOWED[op] | {"kernel": kernel, "stride": stride}
    out = OPS[op].build(**attrs).eval()(torch.randn(2, 4, *size))
    assert out.shape[1:] == OPS[op].out_shape([(4, *size)], **attrs)


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax"])
def test_classifier_has_the_stated_output_shape(pool):
    out = Classifier(4, classes=3, pool=pool)(torch.randn(2, 4, 5, 6))
    assert out.shape == (2, 3)
    assert OPS["classifier"].out_shape([(4, 5, 6)], in_channels=4, classes=3, pool=pool) == (3, 1, 1)


@pytest.mark.parametrize("pool, pooled", [("avg", 2.5), ("max", 7.0), ("avgmax", 4.75)])
def test_classifiers_pool_as_named(pool, pooled):
    classifier = Classifier(1, classes=2, pool=pool)
    torch.nn.init.ones_(classifier.linear.weight)
    torch.nn.init.zeros_(classifier.linear.bias)
    x = torch.tensor([[[[1.0, 7.0], [0.0, 2.0]]]])
    assert classifier(x).tolist() == [[pooled, pooled]]


@pytest.mark.parametrize("side", [1, 3, 6, 9, (3, 8), (8, 3), (6, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_resize_has_the_stated_output_shape_and_keeps_the_type(side, dtype):
    out = Resize(side)(torch.full((2, 4, 6, 6), 0.5, dtype=dtype))
    assert out.shape[1:] == OPS["resize"].out_shape([(4, 6, 6)], side=side)
    assert out.dtype == dtype
    assert (out == 0.5).all()


def test_resize_averages_where_it_shrinks():
    """Without antialiasing, resizing to a quarter would use only every fourth pair of pixels."""
    x = torch.zeros(1, 1, 16, 16)
    x[..., ::4, :] = 1.0  # the rows that plain bilinear sampling at a quarter doesn't use
    assert Resize(4)(x).min() > 0.1
    for side in (0, (3, 0)):
        with pytest.raises(ValueError, match="side must be at least 1, but got "):
            OPS["resize"].out_shape([(4, 6, 6)], side=side)


def test_resize_to_a_square_given_either_way_is_the_same():
    x = torch.randn(2, 3, 5, 12)
    assert torch.equal(Resize(4)(x), Resize((4, 4))(x))


def test_resize_averages_along_the_axis_that_shrinks():
    x = torch.zeros(1, 1, 4, 16)
    x[..., ::4] = 1.0
    assert Resize((9, 4))(x).min() > 0.1
    assert Resize((2, 32))(x).min() == 0  # columns are not averaged where they become more


def test_squeeze_excite_is_a_gate_on_channels():
    gate, x = SqueezeExcite(8), torch.rand(2, 8, 3, 3) + 0.1
    ratio = gate(x) / x
    assert ratio.shape == x.shape and ((ratio >= 0) & (ratio <= 1)).all()
    assert torch.allclose(ratio, ratio[:, :, :1, :1].expand_as(ratio))  # one factor a channel
    assert gate.reduce.out_features == 2  # a quarter
    for parameter in gate.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.allclose(gate(x), x / 2)  # hard sigmoid of 0


def test_activations_are_as_named():
    for act, at_minus_one in [("relu", 0.0), ("hswish", -1 / 3)]:
        block = OPS["conv"].build(in_channels=1, out_channels=1, kernel=1, stride=1, act=act).eval()
        torch.nn.init.ones_(block.conv[0].weight)
        x = torch.tensor([[[[-1.0, 4.0]]]])
        assert torch.allclose(block(x), torch.tensor([[[[at_minus_one, 4.0]]]]), atol=1e-4)
    with pytest.raises(KeyError):
        OPS["conv"].build(in_channels=1, out_channels=1, kernel=1, stride=1, act="tanh")


@pytest.mark.parametrize("op", sorted(set(OPS) - {OPAQUE}))
def test_an_op_names_the_arguments_of_its_constructor(op):
    kind = OPS[op].kind
    arguments = inspect.signature(kind.__init__).parameters.values() if "__init__" in vars(kind) else []
    named = [argument for argument in arguments if argument.name != "self"]
    assert OPS[op].needs == tuple(a.name for a in named if a.default is a.empty)
    assert OPS[op].options == tuple(a.name for a in named if a.default is not a.empty)


def test_names_are_those_of_the_functions():
    assert tuple(base.ACTIVATIONS) == shapes.ACTIVATION_NAMES
    assert tuple(GLOBAL_POOLS) == shapes.GLOBAL_POOL_NAMES


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_add_sums_any_number_of_inputs(inputs):
    xs = [torch.full((2, 4, 5, 6), float(index + 1)) for index in range(inputs)]
    out = Add()(*xs)
    assert out.shape[1:] == OPS["add"].out_shape([(4, 5, 6)] * inputs)
    assert (out == sum(range(1, inputs + 1))).all()


def test_add_refuses_unequal_shapes():
    with pytest.raises(ValueError, match="one shape"):
        OPS["add"].out_shape([(4, 5, 6), (4, 5, 5)])


@pytest.mark.parametrize(
    "shape, out_channels, kernel, stride, problem",
    [
        ((4, 8, 8), 4, 4, 1, "kernel must be odd and positive, but got 4"),
        ((4, 8, 8), 4, -1, 1, "kernel must be odd"),
        ((4, 8, 2), 4, 5, 1, "kernel must be at most 3, to fit its 8x2 map, but got 5"),
        ((4, 2, 8), 4, 1, 3, "stride must be at most 2, or nothing is left of its 2x8 map, but got 3"),
        ((4, 8, 8), 4, 3, 0, "stride must be at least 1, but got 0"),
        ((0, 8, 8), 4, 3, 1, "channels must be at least 1"),
        ((4, 8, 8), 0, 3, 1, "channels must be at least 1"),
    ],
)
def test_invalid_windows_are_refused(shape, out_channels, kernel, stride, problem):
    with pytest.raises(ValueError, match=problem):
        same_padded(shape, out_channels, kernel, stride)


def test_blocks_have_shortcuts_where_shapes_are_equal():
    x = torch.rand(1, 4, 6, 6)
    blocks = (Basic(4, 4, 3, 1), MBConv(4, 4, 3, 1, 2.0), FusedMBConv(4, 4, 3, 1, 2.0, se=True))
    for block in (block.eval() for block in blocks):
        for name, parameter in block.named_parameters():
            if name.startswith(("conv2.1", "project.1")):
                torch.nn.init.zeros_(parameter)  # the residual branch gives 0
        assert torch.equal(block(x), x)
    for op in (MBConv, FusedMBConv):
        assert not op(4, 4, 3, 2, 2.0).residual
        assert not op(4, 6, 3, 1, 2.0).residual


def test_average_pooling_excludes_padding():
    assert torch.allclose(AvgPool(3, 1)(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("channels, groups", [(1, 1), (4, 1), (6, 6), (32, 1)])
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
@pytest.mark.parametrize("training", [True, False])
def test_strided_pointwise_convolutions_are_subsampled_to_the_same_numbers(training, size, channels, groups):
    subsampled = conv_norm(channels, 6, 1, stride=2, groups=groups)[0].train(training)
    plain = torch.nn.Conv2d(channels, 6, 1, 2, groups=groups, bias=False)
    plain.load_state_dict(subsampled.state_dict())
    x = torch.randn(3, channels, *size)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [conv(given) for conv, given in zip((subsampled, plain), inputs, strict=True)]
    assert torch.allclose(*outputs, atol=1e-6)
    for output in outputs:
        output.square().sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-5)
    assert torch.allclose(subsampled.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)
    assert type(subsampled) is not type(plain) and type(conv_norm(channels, 6, 1)[0]) is type(plain)
