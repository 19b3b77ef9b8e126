import copy

import numpy as np
import pytest
import torch

from aebnas.runtime.network import Network
from aebnas.space.lowering import lower
from aebnas.supernet.supernet import Supernet
from aebnas.training.exits.gradient_rescaling import backbone_factors, path_factors, rescale_gradients

WEIGHTS = (0.5, 0.3, 0.2)


def gradients_of_each_exit(network, x_nchw):
    """Gradients of the sum of each exit's logits, by parameter."""
    found = []
    for number in range(len(network.graph.exits)):
        network.zero_grad()
        network(x_nchw)[number].square().sum().backward()
        found.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    return found


def test_the_backbone_gets_the_weighted_mean_of_its_exits_gradients(two_stages, calibration):
    """Each node's, over the exits at or after it; branches get what their exit's weight gives."""
    torch.manual_seed(0)
    network = Network(lower(two_stages.extreme(largest=True)))
    x_nchw = calibration[0][:16]
    each = gradients_of_each_exit(network, x_nchw)
    network.zero_grad()
    sum(w * logits.square().sum() for w, logits in zip(WEIGHTS, network(x_nchw), strict=True)).backward()
    rescale_gradients(network, WEIGHTS)
    in_backbone = backbone_factors(network.graph, WEIGHTS)
    for name, parameter in network.named_parameters():
        reached = [number for number in range(3) if name in each[number]]
        expected = sum(WEIGHTS[number] * each[number][name] for number in reached)
        if name.split(".")[1] in in_backbone:
            expected = expected / sum(WEIGHTS[number] for number in reached)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-5)


def test_factors_by_hand(two_stages):
    factors = backbone_factors(lower(two_stages.extreme(largest=True)), WEIGHTS)
    assert factors["stem"] == pytest.approx(1.0)
    assert factors["stage2_block1"] == pytest.approx(1 / 0.5)
    assert factors["stage3_block1"] == pytest.approx(1 / 0.2)
    assert not any(name.startswith("exit") for name in factors)


def test_a_supernet_rescales_as_its_network_does(two_stages, calibration):
    architecture = two_stages.extreme(largest=True)
    supernet = Supernet(two_stages.spec, torch.Generator().manual_seed(0))
    network = supernet.extract(architecture, supernet.recalibrate(architecture, calibration)).train()
    x_nchw = calibration[0][:16]
    factors = path_factors([architecture], [WEIGHTS])
    outputs = supernet.forward_many(x_nchw, [architecture], gradient_factors=factors)[0]
    for logits, own in zip((outputs, network(x_nchw)), (supernet, network), strict=True):
        sum(w * nc.square().sum() for w, nc in zip(WEIGHTS, logits, strict=True)).backward()
        if own is network:
            rescale_gradients(network, WEIGHTS)
    stem = network.nodes["stem"].conv[0].weight
    torch.testing.assert_close(supernet.shared["stem/conv/0/weight"].grad[: len(stem)], stem.grad)
    (node,) = (node for node in network.graph.nodes if node.name == "stage3_block1")
    for name, parameter in network.nodes[node.name].named_parameters():
        shared = supernet.shared[f"{node.weights}/{name}".replace(".", "/")]
        if shared.shape == parameter.shape:
            torch.testing.assert_close(shared.grad, parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["make_sandwich", "make_single"])
def test_it_is_part_of_a_step_where_the_recipe_says_so(kind, request, batches):
    x_nchw, labels_n = next(batches.epoch(torch.Generator().manual_seed(0)))
    lengths = []
    for on in (False, True):
        task = request.getfixturevalue(kind)(exits={"gradient_rescaling": on})
        task.begin_step(0.0)
        task.module.train()
        for loss in task.losses(x_nchw, labels_n, np.random.default_rng(0)):
            loss.backward()
        task.step(torch.amp.GradScaler("cpu", enabled=False))
        named = [(n, p) for n, p in task.module.named_parameters() if p.grad is not None]
        deep = [p.grad.norm() for n, p in named if "stage3" in n and "exit" not in n]
        lengths.append(torch.stack(deep).norm())
    assert lengths[1] > 1.5 * lengths[0]


def test_a_network_without_early_exits_is_unchanged(two_stages, calibration):
    network = Network(lower(two_stages.extreme(largest=False)))
    network(calibration[0][:4])[0].sum().backward()
    before = copy.deepcopy([p.grad for p in network.parameters()])
    rescale_gradients(network, [1.0])
    assert all(map(torch.equal, before, [p.grad for p in network.parameters()]))
