"""Edges whose op depends on the image: grouping, the ops that run, costs, and their representation in a Graph."""

import json

import numpy as np
import pytest
import torch

from aebnas.cost.counts import count_graph
from aebnas.cost.energy_model import HOROWITZ
from aebnas.cost.exit_costs import SampleCosts
from aebnas.cost.memory import peak_memory
from aebnas.cost.model import COUNTS
from aebnas.policies.exit_table.sample_costs import costs_of, table_costs
from aebnas.report.drawing import drawing
from aebnas.runtime.choice import Choice
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import StopHeads
from aebnas.runtime.graph import Graph, Node
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPS
from aebnas.space.architecture import Architecture, Block, Cell, Edge, Exit, Stem
from aebnas.space.lowering import lower

CONV1, CONV3 = (Block(op="conv", kernel=kernel, expand=None) for kernel in (1, 3))
IDENTITY, ZERO = (Block(op=op, kernel=None, expand=None) for op in ("identity", "zero"))
ALL = (CONV1, CONV3, IDENTITY, ZERO)
POLICY = ExitPolicy("confidence", (0.36,), rules=(StopHeads((0.45,)),))


@pytest.fixture(scope="module")
def adaptive() -> Architecture:
    edges = (
        Edge(source=0, target=1, ops=ALL),
        Edge(source=0, target=2, ops=(CONV3,)),
        Edge(source=1, target=2, ops=(ZERO, CONV3)),
    )
    return Architecture(
        channels=1,
        resolution=8,
        classes=3,
        stem=Stem(width=4, kernel=3, stride=1),
        cells=(Cell(width=4, stride=1, nodes=2, edges=edges),),
        exits=(Exit(stage=0, block=1, layers=(), in_cell=True),),
        controller=2,
        stop_heads=True,
    )


@pytest.fixture(scope="module")
def network(adaptive, random_network, pixels) -> Network:
    """A network with alphas under which every candidate is selected by some image."""
    found = random_network(adaptive, seed=4)
    control = {}
    found.nodes["controller_head"].register_forward_hook(lambda module, args, result: control.update(delta=result))
    outputs_of(found, pixels(adaptive, 200))
    for name in ("cell1_edge0_1", "cell1_edge1_2"):
        choice = found.nodes[name]
        delta_nk = control["delta"][:, choice.start : choice.start + len(choice.names)]
        choice.alpha.data = -delta_nk.mean(0)
    return found


def outputs_of(network, x_nchw):
    with torch.no_grad():
        return network.outputs(x_nchw)


def test_grouped_execution_equals_sample_by_sample(network, adaptive, pixels):
    x_nchw = pixels(adaptive, 40)
    together = outputs_of(network, x_nchw)
    for name, chosen_n in together.chosen.items():
        assert len(chosen_n.unique()) > 1, name
    for index in range(len(x_nchw)):
        single = outputs_of(network, x_nchw[index : index + 1])
        for one, many in zip(single.logits + single.stop_logits, together.logits + together.stop_logits, strict=True):
            torch.testing.assert_close(one[0], many[index], rtol=1e-4, atol=1e-5)
        assert all(single.chosen[name][0] == chosen_n[index] for name, chosen_n in together.chosen.items())


def test_hard_inference_equals_the_tables_decisions(network, adaptive, pixels):
    x_nchw = pixels(adaptive, 40)
    together = outputs_of(network, x_nchw)
    confidence_n = together.logits[0].softmax(-1).amax(-1)
    stop_n = (confidence_n > 0.36) & (together.stop_logits[0].sigmoid() > 0.45)
    predicted = network.infer(x_nchw, POLICY)
    assert 0 < int(stop_n.sum()) < 40
    assert predicted.exit_index.tolist() == (1 - stop_n.long()).tolist()
    for index, taken in enumerate(predicted.exit_index.tolist()):
        torch.testing.assert_close(predicted.logits[index], together.logits[taken][index], rtol=1e-4, atol=1e-5)


def test_only_selected_ops_run_and_each_once_for_its_samples(network, adaptive, pixels):
    x_nchw = pixels(adaptive, 40)
    chosen = outputs_of(network, x_nchw).chosen
    ran: dict[tuple[str, int], list[int]] = {}
    hooks = []
    for name in chosen:
        for index, op in enumerate(network.nodes[name].ops):
            note = lambda module, args, result, key=(name, index): ran.setdefault(key, []).append(len(result))  # noqa: E731
            hooks.append(op.register_forward_hook(note))
    for batch in (x_nchw, x_nchw[:1]):
        ran.clear()
        selected = outputs_of(network, batch).chosen
        wanted = {}
        for name, chosen_n in selected.items():
            for index, op in enumerate(network.nodes[name].names):
                if op != "zero" and int((chosen_n == index).sum()):
                    wanted[name, index] = [int((chosen_n == index).sum())]
        assert ran == wanted
    for hook in hooks:
        hook.remove()


def test_an_op_gets_gradients_only_from_its_own_samples():
    conv = OPS["conv"].build(in_channels=2, out_channels=2, kernel=1, stride=1)
    choice = Choice((("conv", conv), ("zero", None)), 0)
    x_nchw = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    choice(x_nchw, torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])).sum().backward()
    assert x_nchw.grad is not None
    assert not x_nchw.grad[1].any()
    assert choice.ops[0].conv[0].weight.grad is not None
    assert choice.alpha.grad is None


def test_each_sample_is_charged_for_the_ops_selected_for_it(network, adaptive, pixels):
    graph = network.graph
    static = count_graph(graph).macs
    chosen = {name: chosen_n.numpy() for name, chosen_n in outputs_of(network, pixels(adaptive, 40)).chosen.items()}
    costs = table_costs(COUNTS, graph, chosen)["macs"]
    assert isinstance(costs, SampleCosts)
    conv1, conv3 = 4 * 4 * 64, 4 * 4 * 9 * 64
    first_n = np.array([conv1, conv3, 0, 0])[chosen["cell1_edge0_1"]]
    second_n = np.array([0, conv3])[chosen["cell1_edge1_2"]]
    stem, controller = 9 * 4 * 64, 9 * 2 * 16 + 2 * 4 * 9 * 4 + 4 * 6
    before_n = stem + controller + first_n
    np.testing.assert_array_equal(costs.backbone_ne[:, 0], before_n)
    np.testing.assert_array_equal(costs.backbone_ne[:, 1], before_n + conv3 + second_n)
    np.testing.assert_array_equal(costs.branch_ne, [[4 * 3 + 4, 4 * 3]] * 40)  # with the stop head
    assert static.total == costs.to_exit_ne()[:, -1].max()
    assert table_costs(COUNTS, graph, {}) == {"macs": static}
    energy = costs_of(graph, chosen, HOROWITZ.cost_mj)
    assert energy.to_exit_ne()[:, -1].max() <= HOROWITZ.energy(graph).total * (1 + 1e-9)


def test_weights_of_all_kept_ops_and_the_controller_are_counted(network, adaptive):
    counts = count_graph(network.graph)
    assert counts.params.total == sum(parameter.numel() for parameter in network.parameters())
    floats = [tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    assert counts.weight_bytes.total == 4 * sum(tensor.numel() for tensor in floats)


def test_an_adaptive_graph_can_be_written_as_json_drawn_and_its_memory_computed(adaptive):
    graph = lower(adaptive)
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))) == graph
    assert Architecture.from_json(json.loads(json.dumps(adaptive.to_json()))) == adaptive
    labels = {box["name"]: box.get("label") for box in drawing(graph)["boxes"]}
    assert labels["cell1_edge0_1"] == "conv 1×1 or conv 3×3 or identity or zero"
    assert peak_memory(graph).tolist()[-1] > 4 * (64 + 3 * 4 * 64)


def test_a_choice_whose_shapes_do_not_fit_is_refused():
    conv = ("conv", (("in_channels", 2), ("kernel", 3), ("out_channels", 2), ("stride", 2)))
    control = Node.make("control", "classifier", ("input",), in_channels=2, classes=2)
    for ops, rule in [((conv, ("zero", ())), "keep the shape"), ((("zero", ()),) * 3, "needs 3 numbers")]:
        choice = Node.make("choice", "choice", ("input", "control"), ops=ops, start=0)
        with pytest.raises(ValueError, match=rule):
            Graph((2, 8, 8), (control, choice), ())
