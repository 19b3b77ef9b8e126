"""The FLOP of steps as tasks count them, against torch's counter over the same step, its backward passes included."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch_flop import layers_of, torch_counter

from aebnas.data.batches import Batches
from aebnas.data.data_spec import AugmentSpec
from aebnas.runtime.graph import Graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture, Block, Cell, Edge, Exit, Stem
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.space.stop_heads import with_stop_heads
from aebnas.supernet.darts.relaxed_costs import layer_cost, relaxed_costs
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.supernet.supernet import Supernet
from aebnas.training.compute.graph_flop import path_flop, running, shapes_at, step_flop
from aebnas.training.compute.network_flop import NetworkFlop
from aebnas.training.darts.relaxed_spec import RelaxedSpec
from aebnas.training.darts.relaxed_task import RelaxedTask
from aebnas.training.sandwich import SandwichTask
from aebnas.training.single_network import SingleTask
from aebnas.training.training_spec import SupernetSpec, TrainSpec

STAGED = {
    "input": {"channels": 3, "resolution": [8, 12]},
    "classes": 5,
    "stem": {"width": [4, 6]},
    "stages": [
        {
            "width": [4, 8],
            "depth": [1, 2],
            "op": ["basic", "mbconv", "fused_mbconv", "sepconv", "conv", "skip"],
            "kernel": [1, 3],
            "expand": [1, 2],
            "se": [True, False],
        },
        {"width": [8, 12], "depth": [1, 2], "stride": 2, "op": ["basic", "mbconv"], "expand": 2},
    ],
    "exits": {"at": ["stage1.block1", "stage1"], "depth": [0, 1], "layer": ["conv", "maxpool"]},
}
DAG = {
    "input": {"channels": 3, "resolution": 8},
    "classes": 5,
    "stem": {"width": 4},
    "backbone": "dag",
    "dag": {
        "nodes": 3,
        "ops": ["zero", "identity", "conv", {"op": "sepconv", "kernel": 3}, "maxpool"],
        "stacks": [{"width": 4}, {"width": 6}],
    },
    "exits": {"at": "every_node", "depth": [0, 1]},
}
PLAIN = {"epochs": 2, "batch_size": 8, "precision": "fp32"}
IMAGES = 8


def space(value):
    return SearchSpace(SpaceSpec.model_validate(value))


def drawn(value, count, seed=0):
    rng, own = np.random.default_rng(seed), space(value)
    return [own.decode(own.sample(rng)).architecture for _ in range(count)]


def batch(shape, classes):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(IMAGES, *shape, generator=generator), torch.randint(classes, (IMAGES,), generator=generator)


def counted(task, x_nchw, labels_n, seed=0, progress=0.5):
    """FLOP of one step as the loop does it: by torch and by the task."""
    task.module.train()
    task.begin_epoch(1)
    task.begin_step(progress)
    with torch_counter() as counter:
        for loss in task.losses(x_nchw, labels_n, np.random.default_rng(seed)):
            loss.backward()
    return layers_of(counter), task.flop()


def single(architecture, graph=None, stage="joint", **settings):
    spec = TrainSpec(**(PLAIN | settings))
    return SingleTask(Network(graph or lower(architecture)), architecture, spec, None, None, (), stage=stage)


def test_torchs_own_rule_charges_the_weights_of_a_grouped_convolution_for_each_group():
    """Why its rule is replaced: for one group it agrees."""

    def backward(groups):
        counts = []
        for counter in (FlopCounterMode(display=False), torch_counter()):
            with counter:
                nn.Conv2d(8, 8, 3, groups=groups)(torch.randn(2, 8, 6, 6)).sum().backward()
            counts.append(counter.get_flop_counts()["Global"][torch.ops.aten.convolution_backward])
        return counts

    plain, grouped = backward(1), backward(8)
    assert plain[0] == plain[1] == 2 * (8 * 8 * 9) * (2 * 4 * 4)
    assert grouped == [plain[0], plain[0] // 8]


@pytest.mark.parametrize("value", [STAGED, DAG], ids=["staged", "dag"])
def test_networks(value):
    for architecture in drawn(value, 8):
        graph = lower(architecture)
        by_torch, by_task = counted(single(architecture), *batch(graph.input_shape, 5))
        assert by_task == by_torch


def test_a_frozen_backbone_computes_gradients_of_branches_only():
    for architecture in drawn(STAGED, 6, seed=3):
        graph = lower(architecture)
        if len(graph.exits) == 1:
            continue
        task = single(architecture, stage="branches")
        by_torch, by_task = counted(task, *batch(graph.input_shape, 5))
        assert by_task == by_torch < counted(single(architecture), *batch(graph.input_shape, 5))[0] * 0.7


@pytest.mark.parametrize("trained", [False, True])
def test_stop_heads_get_gradients_where_the_loss_depends_on_them(trained):
    architecture = next(a for a in drawn(STAGED, 20) if len(a.exits) > 1)
    graph = with_stop_heads(lower(architecture))
    task = single(architecture, graph, exits={"stop_heads": trained})
    by_torch, by_task = counted(task, *batch(graph.input_shape, 5))
    assert by_task == by_torch


def test_blended_exits():
    architecture = next(a for a in drawn(STAGED, 20) if len(a.exits) > 1)
    by_torch, by_task = counted(
        single(architecture, exits={"blended": True}), *batch(lower(architecture).input_shape, 5)
    )
    assert by_task == by_torch


def test_exits_that_are_added_one_by_one():
    """Of a network, and of a supernet."""
    exits = {"activation": "deep_first", "activation_share": 0.3}
    architecture = max(drawn(STAGED, 20), key=lambda drawn: len(drawn.exits))
    own, spec = space(STAGED), SupernetSpec(**(PLAIN | {"random_subnets": 1, "branches": 2, "exits": exits}))
    sandwich = SandwichTask(Supernet(own.spec, torch.Generator().manual_seed(0)), own, spec, None, None, ())
    size = lower(architecture).input_shape
    for task, shape in ((single(architecture, exits=exits), size), (sandwich, (3, 12, 12))):
        found = [counted(task, *batch(shape, 5), progress=progress) for progress in (0.0, 0.9)]
        assert all(by_task == by_torch for by_torch, by_task in found) and found[0][1] < found[1][1]


def test_the_stage_of_the_backbone_runs_no_branch():
    architecture = next(a for a in drawn(STAGED, 20) if len(a.exits) > 1)
    by_torch, by_task = counted(single(architecture, stage="backbone"), *batch(lower(architecture).input_shape, 5))
    without = lower(architecture.model_copy(update={"exits": ()}))
    assert by_task == by_torch == step_flop(running(without)) * IMAGES


def test_rescaled_gradients_cost_nothing_more():
    own = space(STAGED)
    flops = []
    for rescaled in (False, True):
        spec = SupernetSpec(**(PLAIN | {"random_subnets": 0, "exits": {"gradient_rescaling": rescaled}}))
        task = SandwichTask(Supernet(own.spec, torch.Generator().manual_seed(0)), own, spec, None, None, ())
        by_torch, by_task = counted(task, *batch((3, 12, 12), 5))
        assert by_task == by_torch
        flops.append(by_task)
    assert flops[0] == flops[1]


def test_branches_of_exits_that_take_no_part_cost_nothing():
    """Against the graph that has only the other exits."""
    for architecture in drawn(STAGED, 12, seed=5):
        graph = lower(architecture)
        for off in range(len(graph.exits) - 1):
            active = [index != off for index in range(len(graph.exits))]
            kept = tuple(e for e, on in zip(graph.exits, active, strict=True) if on)
            needed = set().union(*(graph.ancestors(e.output) for e in kept))
            smaller = Graph(graph.input_shape, tuple(n for n in graph.nodes if n.name in needed), kept)
            x_nchw, _ = batch(graph.input_shape, 5)
            with torch_counter() as counter:
                sum(logits.sum() for logits in Network(smaller)(x_nchw)).backward()
            counting = NetworkFlop(Network(graph), stop_heads=False)
            counting.ran(x_nchw, active=active)
            assert counting.flop() == layers_of(counter) < step_flop(running(graph)) * IMAGES


def test_stop_heads_are_in_the_loss_once_all_exits_take_part():
    architecture = next(a for a in drawn(STAGED, 20) if len(a.exits) > 1)
    graph = with_stop_heads(lower(architecture))
    counting = NetworkFlop(Network(graph), stop_heads=True)
    x_nchw, _ = batch(graph.input_shape, 5)
    counting.ran(x_nchw, active=[False] + [True] * (len(graph.exits) - 1))
    exits = graph.exits[1:]
    needed = set().union(*(graph.ancestors(name) for e in exits for name in (e.output, e.stop) if name))
    smaller = Network(Graph(graph.input_shape, tuple(n for n in graph.nodes if n.name in needed), exits))
    with torch_counter() as counter:
        sum(logits.sum() for logits in smaller(x_nchw)).backward()
    assert counting.flop() == layers_of(counter)


@pytest.mark.parametrize("side", [2, 5, 10])
def test_images_of_another_size(side):
    """A space refuses kernels of 3 pixels on maps of one, but training on smaller images runs them."""
    value = STAGED | {"input": {"channels": 3, "resolution": 8}}
    for architecture in drawn(value, 3, seed=7):
        by_torch, by_task = counted(single(architecture), *batch((3, side, side), 5))
        assert by_task == by_torch
        graph = lower(architecture)
        assert shapes_at(graph, (3, side, side)) != shapes_at(graph, graph.input_shape) == graph.shapes


def test_frozen_weights_inside_of_a_layer():
    """A first convolution whose weights are fixed, as a whitening, while its norm trains."""
    (architecture,) = drawn(STAGED, 1)
    task, whole = single(architecture), single(architecture)
    network = task.module
    network.nodes["stem"].conv[0].weight.requires_grad_(False)
    shape = lower(architecture).input_shape
    by_torch, by_task = counted(task, *batch(shape, 5))
    assert by_task == by_torch < counted(whole, *batch(shape, 5))[1]


@pytest.mark.parametrize("value", [STAGED, DAG], ids=["staged", "dag"])
def test_a_step_of_a_supernet_runs_what_branch_sets_have_in_common_once(value):
    own, spec = space(value), SupernetSpec(**(PLAIN | {"random_subnets": 2, "branches": 3}))
    supernet = Supernet(own.spec, torch.Generator().manual_seed(0))
    task = SandwichTask(supernet, own, spec, None, None, ())
    size = max(value["input"]["resolution"], 8) if isinstance(value["input"]["resolution"], int) else 12
    for seed in range(2):
        by_torch, by_task = counted(task, *batch((3, size, size), 5), seed)
        assert by_task == by_torch
    architectures = [own.sample_branches(task.largest, np.random.default_rng(n)) for n in range(3)]
    apart = sum(path_flop([architecture], (3, size, size)) for architecture in architectures)
    assert path_flop(architectures, (3, size, size)) < apart


def test_exits_of_a_supernet_that_take_no_part_cost_nothing():
    own = space(STAGED)
    largest = own.extreme(largest=True)
    exits = len(largest.exits) + 1
    last_only = [False] * (exits - 1) + [True]
    without = largest.model_copy(update={"exits": ()})
    assert path_flop([largest], (3, 12, 12), [last_only]) == path_flop([without], (3, 12, 12))
    assert path_flop([largest], (3, 12, 12), [[True] * exits]) == path_flop([largest], (3, 12, 12))


@pytest.mark.parametrize(
    "bilevel, settings",
    [
        ("first_order", {}),
        ("second_order", {"mixing": "straight_through"}),
        ("joint", {"controller": 0, "stop_heads": False}),
    ],
)
def test_relaxed_networks(bilevel, settings, some_digits, preprocessing):
    value = DAG | {"input": {"channels": 1, "resolution": 8}, "classes": 10}
    spec = RelaxedSpec(**(PLAIN | {"controller": 2, "bilevel": bilevel} | settings))
    generator = torch.Generator().manual_seed(1)
    network = RelaxedNetwork(SpaceSpec.model_validate(value), spec.controller, spec.stop_heads, generator)
    arch = None if bilevel == "joint" else Batches(some_digits[1], preprocessing, AugmentSpec(), 5)
    costs = relaxed_costs(network, layer_cost("macs"))
    task = RelaxedTask(network, spec, 0.5, costs, arch, some_digits[1], preprocessing, (), 5)
    by_torch, by_task = counted(task, *batch((1, 8, 8), 10))
    assert by_task == by_torch
    with torch_counter() as counter, torch.no_grad():
        network(torch.zeros(3, 1, 8, 8), torch.Generator())
    assert task.counted.forward([torch.zeros(3, 1, 8, 8)]) == layers_of(counter)


CONV1, CONV3 = (Block(op="conv", kernel=kernel, expand=None) for kernel in (1, 3))
FREE = tuple(Block(op=op, kernel=None, expand=None) for op in ("identity", "zero"))


@pytest.mark.parametrize("seed", range(4))
def test_edges_whose_op_depends_on_the_image_are_charged_with_what_ran(seed):
    edges = (
        Edge(source=0, target=1, ops=(CONV1, CONV3, *FREE)),
        Edge(source=0, target=2, ops=(CONV3,)),
        Edge(source=1, target=2, ops=(FREE[1], CONV3)),
    )
    architecture = Architecture(
        channels=3,
        resolution=8,
        classes=5,
        stem=Stem(width=4, kernel=3, stride=1),
        cells=(Cell(width=4, stride=1, nodes=2, edges=edges),),
        exits=(Exit(stage=0, block=1, layers=(), in_cell=True),),
        controller=2,
    )
    torch.manual_seed(seed)
    by_torch, by_task = counted(single(architecture), *batch((3, 8, 8), 5))
    assert by_task == pytest.approx(by_torch, rel=1e-12)
    most = step_flop(running(lower(architecture))) * IMAGES
    assert by_task <= most
