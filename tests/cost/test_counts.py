"""MACs, params and bytes: by hand, and compared with fvcore and with the modules."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from aebnas.core.errors import UserError
from aebnas.cost.counts import count_graph, count_layer
from aebnas.cost.exit_costs import ExitCosts
from aebnas.runtime.cost_rules import Counts
from aebnas.runtime.graph import INPUT, Graph, GraphExit, Node
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPAQUE, OPS
from aebnas.space.lowering import lower


def truncated(graph, exit_index):
    """The Graph with only one exit: its path through the backbone and its own branch."""
    only = graph.exits[exit_index]
    names = graph.ancestors(only.output) | graph.ancestors(only.site)
    return Graph(graph.input_shape, tuple(n for n in graph.nodes if n.name in names), (only,))


def passed_by(graph, exit_index):
    """Counts of nodes of a DAG up to an exit's site that are used by earlier exits only."""
    needed = graph.ancestors(graph.exits[exit_index].output)
    earlier = set().union(*(graph.ancestors(e.site) for e in graph.exits[:exit_index])) - needed
    nodes = [node for node in graph.nodes if node.name in earlier]
    each = [count_layer(n.op, graph.shapes[n.inputs[0]], graph.shapes[n.name], n.kwargs) for n in nodes]
    return sum(each, start=Counts(0, 0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_macs_to_each_exit_equal_fvcore_on_conv_and_linear(bundled, architectures):
    from fvcore.nn import FlopCountAnalysis  # warns when imported

    for architecture in architectures(bundled, 15):
        graph = lower(architecture)
        macs = count_graph(graph).macs
        for index, taken_only in enumerate(macs.taken_only):
            network = Network(truncated(graph, index)).eval()
            analysis = FlopCountAnalysis(network, torch.zeros(1, *graph.input_shape))
            flops = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
            assert flops["conv"] + flops["linear"] + passed_by(graph, index).macs == taken_only


def test_macs_with_passed_branches_equal_what_hooks_count(bundled, architectures, pixels):
    """Counted by hooks on the modules that run; passed branches are charged."""
    for architecture in architectures(bundled, 10, seed=1):
        network = Network(lower(architecture)).eval()
        ran = Counter()

        def count(name, ran=ran):
            return lambda ran_layer, _, out: ran.update({name: ran_layer.weight[0].numel() * out[0].numel()})

        for name, module in network.nodes.items():
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    layer.register_forward_hook(count(name))
        network(pixels(architecture, 1))
        costs, so_far = count_graph(network.graph).macs, 0
        for index, segment in enumerate(network.graph.segments()):
            so_far += sum(ran[node.name] for part in segment for node in part)
            assert costs.to_exit()[index] == so_far
        assert costs.total == so_far


def test_params_and_bytes_equal_those_of_the_modules(bundled, architectures):
    for architecture in architectures(bundled, 15):
        graph = lower(architecture)
        counts = count_graph(graph)
        for index in range(len(graph.exits)):
            network = Network(truncated(graph, index))
            params = sum(parameter.numel() for parameter in network.parameters())
            statistics = sum(
                b.numel() for name, b in network.named_buffers() if name.split(".")[-1] != "num_batches_tracked"
            )
            passed = passed_by(graph, index)
            assert counts.params.taken_only[index] == params + passed.params
            assert counts.weight_bytes.taken_only[index] == 4 * (params + statistics) + passed.weight_bytes
        whole = Network(graph)
        assert counts.params.total == sum(parameter.numel() for parameter in whole.parameters())


@pytest.mark.parametrize(
    "op, in_shape, attrs, macs, params, norm_channels",
    [
        # 3x3 on 8x8: 3*4*9 weights at 64 places; 2 norm params a channel
        ("conv", (3, 8, 8), {"out_channels": 4, "kernel": 3, "stride": 1}, 108 * 64, 108 + 8, 4),
        # stride 2 on 5x5 gives 3x3: convs 2*4*9 and 4*4*9, projection 2*4
        (
            "basic",
            (2, 5, 5),
            {"out_channels": 4, "kernel": 3, "stride": 2},
            (72 + 144 + 8) * 9,
            72 + 144 + 8 + 3 * 8,
            12,
        ),
        ("basic", (4, 5, 5), {"out_channels": 4, "kernel": 3, "stride": 1}, 2 * 144 * 25, 2 * 144 + 16, 8),
        # 4 -> 8 on 6x6, depthwise 5x5 to 3x3, 8 -> 3
        (
            "mbconv",
            (4, 6, 6),
            {"out_channels": 3, "kernel": 5, "stride": 2, "expand": 2.0},
            32 * 36 + 8 * 25 * 9 + 24 * 9,
            32 + 200 + 24 + 2 * (8 + 8 + 3),
            19,
        ),
        (
            "sepconv",
            (4, 6, 6),
            {"out_channels": 8, "kernel": 3, "stride": 2},
            36 * 9 + 32 * 9,
            36 + 32 + 2 * (4 + 8),
            12,
        ),
        # the same with squeeze-excite: 8 -> 2 -> 8, with biases
        (
            "mbconv",
            (4, 6, 6),
            {"out_channels": 3, "kernel": 5, "stride": 2, "expand": 2.0, "se": True},
            32 * 36 + 8 * 25 * 9 + 32 + 24 * 9,
            32 + 200 + 24 + 2 * (8 + 8 + 3) + 32 + 10,
            19,
        ),
        # dense 3x3 4 -> 8 to 3x3, 8 -> 3
        (
            "fused_mbconv",
            (4, 6, 6),
            {"out_channels": 3, "kernel": 3, "stride": 2, "expand": 2.0, "act": "hswish"},
            288 * 9 + 24 * 9,
            288 + 24 + 2 * (8 + 3),
            11,
        ),
        (
            "fused_mbconv",
            (4, 6, 6),
            {"out_channels": 4, "kernel": 3, "stride": 1, "expand": 1.0, "se": True},
            (144 + 16) * 36 + 8,
            144 + 16 + 2 * (4 + 4) + 8 + 5,
            8,
        ),
        ("resize", (4, 6, 6), {"side": 3}, 0, 0, 0),
        ("maxpool", (4, 6, 6), {"kernel": 3, "stride": 2}, 0, 0, 0),
        ("avgpool", (4, 6, 6), {"kernel": 3, "stride": 2}, 0, 0, 0),
        ("add", (4, 6, 6), {}, 0, 0, 0),
        ("classifier", (4, 6, 6), {"classes": 10}, 40, 50, 0),
    ],
)
def test_layers_by_hand(op, in_shape, attrs, macs, params, norm_channels):
    out_shape = OPS[op].out_shape([in_shape], **attrs)
    counts = count_layer(op, in_shape, out_shape, attrs)
    assert counts == (macs, params, norm_channels)
    assert counts.weight_bytes == 4 * (params + 2 * norm_channels)


def test_an_unknown_op_is_an_error():
    with pytest.raises(UserError, match=r"op must be one with a cost rule \(conv, .*\), but got 'blur'"):
        count_layer("blur", (3, 4, 4), (3, 4, 4), {})


def test_counts_of_opaque_modules_are_those_stated_by_their_node():
    nodes = (
        Node.make("big", OPAQUE, (INPUT,), out_shape=(5, 2, 2), macs=1000, params=70, norm_channels=6),
        Node.make("head", "classifier", ("big",), in_channels=5, classes=2),
    )
    counts = count_graph(Graph((3, 4, 4), nodes, (GraphExit("big", "head"),)))
    assert counts.macs == ExitCosts((1000,), (10,))
    assert counts.params == ExitCosts((70,), (12,))
    assert counts.weight_bytes == ExitCosts((4 * (70 + 12),), (4 * 12,))


def test_both_conventions_by_hand():
    costs = ExitCosts(backbone_e=(10, 30, 60), branch_e=(1, 2, 4))
    assert costs.total == 67
    assert costs.taken_only.tolist() == [11, 32, 64]
    assert costs.to_exit().tolist() == [11, 33, 67]
    runs_te = np.array([[False, True, True], [True, False, True]])
    assert costs.to_exit(runs_te).tolist() == [[10, 32, 66], [11, 31, 65]]
