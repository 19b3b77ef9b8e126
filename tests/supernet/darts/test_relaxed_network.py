"""The relaxed network: its mixture, its expected cost, and its discretization."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aebnas.cost.counts import count_graph
from aebnas.runtime.network import Network
from aebnas.space.genome import Candidate, SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.darts.discretization import adaptive_architecture, choice_shares, extract, static_architecture
from aebnas.supernet.darts.relaxed_costs import layer_cost, relaxed_costs
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.training.darts.relaxed_loss import relaxed_loss, soft_exits
from aebnas.training.exits.exit_losses import exit_distribution

VALUE = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 3,
    "stem": {"width": 4},
    "backbone": "dag",
    "dag": {"nodes": 2, "ops": ["zero", "identity", {"op": "conv", "kernel": [1, 3]}, "maxpool"]}
    | {"stacks": [{"width": 4}, {"width": 6}]},
    "exits": {"at": "every_node", "depth": [0, 1], "layer": ["conv", "maxpool+conv"], "pool": ["avg", "max"]},
}
BOOSTED = VALUE | {"exits": VALUE["exits"] | {"boosted": True}}
SHARED = VALUE | {
    "dag": VALUE["dag"] | {"shared": True, "stacks": [{"width": 4, "cells": 2}, {"width": 6}]},
    "exits": VALUE["exits"] | {"at": "every_cell"},
}


def spec(value=VALUE, **changes) -> SpaceSpec:
    return SpaceSpec.model_validate(value | changes)


def make(randomise_module, value=VALUE, controller=2, stop_heads=True, **changes) -> RelaxedNetwork:
    made = RelaxedNetwork(spec(value, **changes), controller, stop_heads, torch.Generator().manual_seed(0))
    return randomise_module(made, 1).eval()


def pixels(count=20):
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def one_hot(network, candidates):
    """Set alpha so that every edge selects one candidate with certainty, and disable the controller."""
    with torch.no_grad():
        network.alpha_gk.fill_(0.0)
        for row, index in enumerate(candidates):
            network.alpha_gk[row, index] = 200.0
        for beta in network.beta:
            beta.copy_(F.one_hot(torch.tensor(len(beta) - 1), len(beta)) * 200.0)
        for parameter in network.controller.parameters():
            parameter.zero_()


@pytest.mark.parametrize("value", [VALUE, SHARED, BOOSTED], ids=["own", "shared", "boosted"])
def test_with_one_hot_alpha_it_equals_the_discretised_network(randomise_module, value):
    network = make(randomise_module, value)
    rows, blocks = network.alpha_gk.shape[0], network.dag.blocks
    rng = np.random.default_rng(3)
    for _ in range(4):
        candidates = rng.integers(1, len(blocks), rows)  # without `zero`
        one_hot(network, candidates)
        architecture = static_architecture(network, inputs=9)
        hard = extract(network, architecture)
        with torch.no_grad():
            soft, found = network(pixels()), hard.outputs(pixels())
        assert len(soft.logits) == len(found.logits) == len(network.sites) + 1
        for a, b in zip(soft.logits, found.logits, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(soft.stop_logits_nk, torch.stack(found.stop_logits, 1), rtol=1e-4, atol=1e-5)
        costs = relaxed_costs(network, layer_cost("macs"))
        macs = count_graph(hard.graph).macs.to_exit()
        # the relaxed network's controller is charged, the static network has none
        controller = sum(layer_cost("macs")(layer.key) for layer in network.controller_layers)
        expected = costs.total * costs.expected(soft.mix_ngk, list(network.beta))[0].detach() - controller
        np.testing.assert_allclose(expected.numpy(), macs, rtol=1e-5)


def test_boosted_exits_add_half_of_the_logits_before_without_their_gradient(randomise_module):
    network, plain = make(randomise_module, BOOSTED), make(randomise_module)
    assert network.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        logits, apart = network(pixels()).logits, plain(pixels()).logits
    expected = apart[:1]
    for own in apart[1:]:
        expected.append(own + 0.5 * expected[-1])
    assert all(map(torch.equal, logits, expected))
    network(pixels()).logits[-1].sum().backward()
    assert all(p.grad is None for p in network.exits.parameters())


def test_the_sums_are_part_of_the_expected_cost(randomise_module):
    """Every exit after the first adds up once; a sum moves three vectors of logits, which takes energy."""
    energy = layer_cost("energy_mj")
    boosted, plain = (relaxed_costs(make(randomise_module, value), energy) for value in (BOOSTED, VALUE))
    one = 3 * 3 * 4 * 5e-9
    apart = boosted.total * boosted.fixed_e - plain.total * plain.fixed_e
    np.testing.assert_allclose(apart.numpy(), one * np.arange(4), rtol=1e-3)


def test_a_boosted_adaptive_network_keeps_its_sums(randomise_module):
    network = make(randomise_module, BOOSTED)
    architecture = adaptive_architecture(network, choice_shares(network, [pixels()]), 0.0)
    hard = extract(network, architecture)
    assert architecture.boosted and architecture.controller and hard.graph.boosted
    for node in hard.graph.nodes:
        if node.op == "boost":
            with torch.no_grad():
                hard.nodes[node.inputs[0]].linear.weight.zero_()
                hard.nodes[node.inputs[0]].linear.bias.zero_()
    logits = hard(pixels())
    assert all(torch.equal(after, 0.5 * before) for before, after in pairwise(logits))


def test_zero_edges_vanish_and_dead_nodes_lose_their_exit(randomise_module):
    network = make(randomise_module)
    one_hot(network, [0, 2, 2, 1, 1, 1])  # edge 0-1 of the first cell is zero
    architecture = static_architecture(network, inputs=9)
    assert [(e.source, e.target) for e in architecture.cells[0].edges] == [(0, 2)]
    assert [(e.stage, e.block) for e in architecture.exits] == [(0, None), (1, 1)]
    space, plain = SearchSpace(network.spec), _plain(architecture)
    assert space.decode(space.encode(Candidate(plain, None))).architecture == plain


def _plain(architecture):
    return type(architecture).from_json(architecture.to_json() | {"stop_heads": False})


def test_a_static_node_keeps_its_strongest_inputs(randomise_module):
    value = VALUE | {"dag": {"nodes": 3, "ops": ["zero", "identity", "conv"], "stacks": [{"width": 4}]}}
    network = make(randomise_module, value)
    with torch.no_grad():
        network.alpha_gk.copy_(torch.tensor([[0, 0, 1.0], [0, 3, 0], [0, 0, 2], [0, 0, 0.5], [0, 1, 0], [0.2, 0, 0.1]]))
    remaining = {(e.source, e.target): e.ops[0].op for e in static_architecture(network, 1).cells[0].edges}
    # 0-1 1.0; of node 2 0-2 (identity, 3); of node 3 1-3 (identity 1.0) over 0-3 (0.5), 2-3 is zero
    assert remaining == {(0, 1): "conv", (0, 2): "identity", (1, 3): "identity"}
    two = [(e.source, e.target) for e in static_architecture(network, 2).cells[0].edges]
    assert two == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3)]


def test_without_perturbation_and_cost_it_is_plain_darts(randomise_module):
    """Outputs, loss and gradients equal those of a plain implementation of the mixture and loss of Liu et al."""
    network = make(randomise_module, exits={"at": []}, controller=2)
    with torch.no_grad():
        list(network.controller.values())[-1].linear.weight.zero_()
        list(network.controller.values())[-1].linear.bias.zero_()
    x_nchw, labels_n = pixels(), torch.arange(20) % 3

    def plain(alpha_gk):
        p_gk, row, h = alpha_gk.softmax(-1), 0, network.before["stem"](pixels())
        for cell in range(2):
            h = network.reduce[str(cell)](h) if str(cell) in network.reduce else h
            nodes = [h]
            for target in (1, 2):
                total = 0
                for source in range(target):
                    for k, block in enumerate(network.dag.blocks):
                        out = (
                            0 * nodes[source] if block.op == "zero" else network.edges[cell][row % 3][k](nodes[source])
                        )
                        total = total + p_gk[row, k] * out
                    row += 1
                nodes.append(total)
            h = nodes[-1]
        return F.cross_entropy(network.head(h), labels_n)

    assert network.dag.pairs == ((0, 1), (0, 2), (1, 2))
    outputs = network(x_nchw)
    assert not outputs.delta_ngk.any()
    loss = relaxed_loss(outputs, labels_n, torch.ones(1, 1), weight=0.0, aux=0.35, mu=1e-3)
    plain_loss = plain(network.alpha_gk)
    torch.testing.assert_close(loss, plain_loss)
    given, expected = (
        torch.autograd.grad(v, [network.alpha_gk, network.head.linear.weight]) for v in (loss, plain_loss)
    )
    for a, b in zip(given, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_controllers_perturbation_starts_at_zero_and_is_separate_for_each_sample(randomise_module):
    fresh = RelaxedNetwork(spec(), 2, True, torch.Generator().manual_seed(0)).eval()
    assert not fresh.delta(pixels()).any()
    network = make(randomise_module)
    mix_ngk = network(pixels()).mix_ngk
    torch.testing.assert_close(mix_ngk, (network.alpha_gk + network.delta(pixels())).softmax(-1))
    assert mix_ngk.std(0).max() > 0
    network.temperature = 0.5
    torch.testing.assert_close(network.mixture(network.alpha_gk), (2 * network.alpha_gk).softmax(-1))


def test_straight_through_samples_are_one_hot_have_the_softmaxs_gradient_and_frequencies(randomise_module):
    network = make(randomise_module)
    network.hard = True
    alpha = torch.tensor([[0.0, 1.0, 2.0]], requires_grad=True)
    noise = torch.Generator().manual_seed(0)
    drawn = network.mixture(alpha.expand(20_000, 1, 3), noise)
    assert ((drawn - drawn.round()).abs() < 1e-6).all() and torch.allclose(drawn.sum(-1), torch.ones(20_000, 1))
    torch.testing.assert_close(drawn.mean(0), alpha.softmax(-1), atol=0.02, rtol=0)
    drawn[..., 2].mean().backward()
    assert alpha.grad[0, 2] > 0 > alpha.grad[0, 0]


def test_expected_cost_is_the_mean_of_sampled_hard_costs(randomise_module):
    network = make(randomise_module)
    costs = relaxed_costs(network, layer_cost("macs"))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        outputs = network(pixels(1))
        cost_ne = costs.expected(outputs.mix_ngk, list(network.beta))
        expected = float(soft_exits(outputs, cost_ne).cost_n) * costs.total
    stop_k = outputs.stop_logits_nk[0].sigmoid()
    sampled = []
    for _ in range(400):
        picks_g = torch.multinomial(outputs.mix_ngk[0], 1, generator=generator)[:, 0]
        branch = [int(torch.multinomial(beta.softmax(0), 1, generator=generator)) for beta in network.beta]
        stops = torch.rand(len(stop_k), generator=generator) < stop_k
        leaves = int(stops.float().argmax()) if stops.any() else len(stop_k)
        hard = F.one_hot(picks_g, len(network.dag.blocks)).float()[None]
        betas = [F.one_hot(torch.tensor(b), len(x)) * 1e3 for b, x in zip(branch, network.beta, strict=True)]
        sampled.append(float(costs.expected(hard, betas)[0, leaves]) * costs.total)
    error = np.std(sampled) / np.sqrt(len(sampled))
    assert abs(np.mean(sampled) - expected) < 4 * error
    assert error < 0.1 * expected


def test_costs_are_fractions_of_the_costliest_architectures_and_differentiable(randomise_module):
    network = make(randomise_module)
    costs = relaxed_costs(network, layer_cost("macs"))
    convs = [i for i, block in enumerate(network.dag.blocks) if block.kernel == 3 and block.op == "conv"]
    one_hot(network, convs * 6)
    largest = static_architecture(network, 9)
    controller = sum(layer_cost("macs")(layer.key) for layer in network.controller_layers)
    branches = [
        [sum(layer_cost("macs")(layer.key) for layer in b.parts) for b in several] for several in network.branches
    ]
    full = count_graph(lower(largest)).macs
    selected = sum(costs_b[-1] for costs_b in branches)
    assert costs.total == full.total + controller - selected + sum(map(max, branches))
    outputs = make(randomise_module)(pixels())
    network = make(randomise_module)
    outputs = network(pixels())
    soft_exits(outputs, costs.expected(outputs.mix_ngk, list(network.beta))).cost_n.mean().backward()
    for parameter in network.architecture_parameters():
        assert parameter.grad is not None and parameter.grad.any()


@pytest.mark.parametrize("metric", ["params", "weight_bytes", "energy_mj"])
def test_any_additive_metric_has_an_expected_cost(randomise_module, metric):
    network = make(randomise_module, controller=0)
    costs = relaxed_costs(network, layer_cost(metric))
    mix_ngk = network(pixels(2)).mix_ngk
    shares = costs.expected(mix_ngk, list(network.beta))[0].tolist()
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] < 1
    one_hot(network, [3] * 6)
    hard = Network(lower(static_architecture(network, 9)))
    if metric != "energy_mj":
        whole = getattr(count_graph(hard.graph), metric).total
        mine = costs.expected(network(pixels(2)).mix_ngk, list(network.beta))[0, -1].detach() * costs.total
        assert float(mine) == pytest.approx(whole, rel=1e-5)


def test_an_adaptive_network_runs_the_argmax_of_each_image(randomise_module):
    network = make(randomise_module)
    x_nchw = pixels(60)
    shares = choice_shares(network, [x_nchw[:40], x_nchw[40:]])
    torch.testing.assert_close(shares.sum(-1), torch.ones(len(shares)))
    with torch.no_grad():  # so that selections differ between images
        network.alpha_gk.copy_(-network.delta(x_nchw).mean(0))
    shares = choice_shares(network, [x_nchw])
    architecture = adaptive_architecture(network, shares, min_share=0.0)
    assert architecture.adaptive and architecture.controller == 2
    hard = extract(network, architecture)
    with torch.no_grad():
        selected = (network.alpha_gk + network.delta(x_nchw)).argmax(-1)
        found = hard.outputs(x_nchw)
        sharp = copy.deepcopy(network)
        sharp.temperature = 1e-6
        for beta in sharp.beta:
            beta.copy_(beta * 1e6)
        soft = sharp(x_nchw)
    for name, chosen_n in found.chosen.items():
        cell, edge = (int(part) for part in (name[4], network.dag.pairs.index((int(name[-3]), int(name[-1])))))
        ops = next(e.ops for e in architecture.cells[cell - 1].edges if (e.source, e.target) == network.dag.pairs[edge])
        expected_n = selected[:, network.group(cell - 1, edge)]
        assert [network.dag.blocks.index(ops[k]) for k in chosen_n.tolist()] == expected_n.tolist()
    assert found.chosen
    for a, b in zip(soft.logits, found.logits, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_rare_candidates_are_removed(randomise_module):
    network = make(randomise_module)
    shares = torch.zeros(6, 5)
    shares[:, 2], shares[:, 3] = 0.97, 0.03
    assert len(adaptive_architecture(network, shares, 0.02).cells[0].edges[0].ops) == 2
    pruned = adaptive_architecture(network, shares, 0.05)
    assert not pruned.adaptive and pruned.controller == 0
    extract(network, pruned)


def test_q_sums_to_one_and_equals_values_computed_by_hand():
    q = exit_distribution(torch.tensor([[0.2, 0.5, 1.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(q, torch.tensor([[0.2, 0.4, 0.4, 0.0], [0.0, 0.0, 0.0, 1.0]]))


def test_the_objective_equals_the_value_computed_by_hand():
    from aebnas.supernet.darts.relaxed_network import RelaxedOutputs

    logits = [torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])]
    delta = torch.full((1, 2, 3), 0.5)
    outputs = RelaxedOutputs(logits, torch.tensor([[0.0]]), delta, torch.ones(1, 2, 3))
    loss = relaxed_loss(outputs, torch.tensor([1]), torch.tensor([[0.25, 1.0]]), weight=0.1, aux=0.5, mu=0.01)
    # q = (1/2, 1/2); y_hat = (1, 2); F = 0.625; |delta|^2 = 6 / 4
    expected = np.log(1 + np.exp(-1)) + 0.5 * np.log(1 + np.exp(2)) + 0.1 * 0.625 + 0.01 * 1.5
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_class_weights_weight_the_entropies_of_their_samples_and_not_the_costs():
    from aebnas.supernet.darts.relaxed_network import RelaxedOutputs

    def loss(labels, class_weights, weight):
        logits = [torch.tensor([[2.0, 0.0]]).expand(len(labels), 2), torch.tensor([[0.0, 4.0]]).expand(len(labels), 2)]
        outputs = RelaxedOutputs(logits, torch.zeros(len(labels), 1), None, torch.ones(1, 2, 3))
        return relaxed_loss(
            outputs, torch.tensor(labels), torch.tensor([[0.25, 1.0]]), weight, 0.5, 0.0, 0.1, class_weights
        )

    weights = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(loss([0, 1], weights, 0.0), loss([0, 1, 1], None, 0.0) * 3 / 2)
    torch.testing.assert_close(loss([0, 1], weights, 0.1) - loss([0, 1], weights, 0.0), torch.tensor(0.0625))
