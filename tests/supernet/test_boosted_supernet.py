"""Boosted networks in a supernet: shared forwards, branch sets, extraction, and whose classifiers are shared."""

import numpy as np
import pytest
import torch

from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.supernet.supernet import Supernet

CLOSE = 1e-5


@pytest.fixture(scope="module")
def space(make_small):
    return make_small("boosted_or_not")


@pytest.fixture(scope="module")
def net(space, randomise_module):
    return randomise_module(Supernet(space.spec, torch.Generator().manual_seed(0)), 4)


def twin(architecture, boosted):
    parts = {name: getattr(architecture, name) for name in Architecture.model_fields}
    return Architecture(**parts | {"boosted": boosted})


def test_extracted_networks_equal_the_supernet_and_add_up_its_logits(
    space, net, architectures, pixels, randomise_module
):
    drawn = [a for a in architectures(space, 30) if a.exits]
    assert {a.boosted for a in drawn} == {True, False}
    for seed, architecture in enumerate(drawn):
        stats = dict(randomise_module(Network(lower(architecture)), seed).named_buffers())
        x = pixels(architecture, 3, seed)
        with torch.no_grad():
            shared, extracted = net(x, architecture, stats), net.extract(architecture, stats)
            assert all(map(torch.equal, shared, extracted(x)))
            if architecture.boosted:
                own = [extracted.nodes[node.inputs[0]] for node in lower(architecture).nodes if node.op == "boost"]
                for index, head in enumerate(own, start=1):
                    head.linear.weight.zero_(), head.linear.bias.zero_()
                    halved = extracted(x)
                    assert torch.equal(halved[index], 0.5 * halved[index - 1])


def test_branch_sets_run_together_as_apart(space, net, pixels, rng):
    backbone = space.extreme(True)
    assert backbone.boosted
    drawn = [backbone, *(space.sample_branches(backbone, rng) for _ in range(6))]
    assert {a.boosted for a in drawn} == {True, False} and all(len(a.exits) == 2 for a in drawn)
    x = pixels(backbone, 4)
    with torch.no_grad():
        for together, architecture in zip(net.forward_many(x, drawn), drawn, strict=True):
            assert max((a - b).abs().max().item() for a, b in zip(together, net(x, architecture), strict=True)) <= CLOSE


def test_branch_sets_are_drawn_as_before_where_there_is_no_choice(make_small, rng):
    """A space without the key draws the same numbers as before it existed."""
    space = make_small("in_stage_sites")
    backbone = space.extreme(True)
    before = [space.sample_branches(backbone, rng) for _ in range(3)]
    again = np.random.default_rng(11)
    for architecture in before:
        for name, values in space.genes.items():
            if name.startswith("exit.") and not name.endswith(".present"):
                again.integers(len(values))
        assert not architecture.boosted
    assert rng.integers(1 << 30) == again.integers(1 << 30)
    always = make_small("boosted")
    assert always.sample_branches(always.extreme(False), rng).boosted


def test_classifiers_are_shared_among_boosted_networks_only(space):
    boosted = space.extreme(True)
    of = {b: {node.weights for node in lower(twin(boosted, b)).nodes if node.op == "classifier"} for b in (True, False)}
    assert not of[True] & of[False] and len(of[True]) == len(of[False]) == 3
    others = [
        {node.weights for node in lower(twin(boosted, b)).nodes if node.op not in ("classifier", "boost")}
        for b in (True, False)
    ]
    assert others[0] == others[1]


def test_recalibration_estimates_the_norms_of_every_branch(space, net, pixels):
    architecture = space.extreme(True)
    stats = net.recalibrate(architecture, [pixels(architecture, 16, seed) for seed in range(2)])
    plain = net.recalibrate(twin(architecture, False), [pixels(architecture, 16, seed) for seed in range(2)])
    assert stats.keys() == plain.keys() and all(torch.equal(stats[name], plain[name]) for name in stats)


def test_gradients_of_a_loss_stay_in_the_exits_own_branch(space, net, pixels):
    architecture = space.extreme(True)
    logits = net(pixels(architecture, 4), architecture)
    net.zero_grad()
    logits[-1].square().sum().backward()
    got = {name.split("/")[0] for name, p in net.shared.items() if p.grad is not None}
    assert "head_boosted" in got and not any(name.startswith("exit_") for name in got)
