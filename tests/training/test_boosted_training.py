"""Training of boosted networks: jointly, as a mixture, in two stages, and in a supernet."""

import copy

import pytest
import torch

from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet
from aebnas.training.exits.frozen_backbone import branch_nodes
from aebnas.training.sandwich import SandwichTask
from aebnas.training.stages import fit_network
from aebnas.training.training_spec import SupernetSpec, TrainSpec


@pytest.fixture(scope="module")
def architecture(two_stages) -> Architecture:
    largest = two_stages.extreme(largest=True)
    return Architecture(**{name: getattr(largest, name) for name in Architecture.model_fields} | {"boosted": True})


@pytest.fixture
def train(architecture, batches, calibration, some_digits):
    """The function from settings to the network before and after training, and the last reported rows."""

    def run(**settings):
        torch.manual_seed(3)
        network, rows = Network(lower(architecture)), []
        before = copy.deepcopy(network)
        spec = TrainSpec(
            **{"epochs": 2, "batch_size": 64, "precision": "fp32", "recipe": "classic", "lr": 8.8, "ema": 0.9}
            | settings
        )
        fixed = batches, 11, "test", None, some_digits[1], calibration, calibration
        after = fit_network(network, architecture, spec, *fixed, lambda reported: rows.extend(reported))
        return before, after, rows

    return run


def changed(one, other):
    """Nodes with weights of which any differs."""
    return {
        name
        for name, module in one.nodes.items()
        if any(not torch.equal(p, q) for p, q in zip(module.parameters(), other.nodes[name].parameters(), strict=True))
    }


@pytest.mark.parametrize("settings", [{}, {"exits": {"blended": True}}, {"exits": {"stop_heads": True}}])
def test_every_branch_trains(train, settings):
    before, after, _ = train(**settings)
    assert changed(before, after) == {name for name, module in before.nodes.items() if list(module.parameters())}


def test_on_a_frozen_backbone_the_last_classifier_trains_with_the_branches(train, monkeypatch):
    """It adds to the earlier exits' logits, which change."""
    from aebnas.training import stages

    seen, real = [], stages.SingleTask

    def note(network, *rest):
        seen.append(copy.deepcopy(network))
        return real(network, *rest)

    monkeypatch.setattr(stages, "SingleTask", note)
    _, after, _ = train(exits={"frozen_backbone": 0.5})
    branches = set(branch_nodes(after))
    assert {"head", "boost"} <= branches
    weighted = {name for name, module in after.nodes.items() if list(module.parameters())}
    assert changed(seen[1], after) == branches & weighted
    for name in set(after.nodes) - branches:
        norms = zip(seen[1].nodes[name].buffers(), after.nodes[name].buffers(), strict=True)
        assert all(torch.equal(a, b) for a, b in norms)


def test_a_supernet_trains_boosted_and_other_networks(two_stages, some_digits, preprocessing, calibration, rng):
    value = two_stages.spec.model_dump(mode="json", exclude_defaults=True)
    exits = value["exits"] | {"boosted": [False, True]}
    space = SearchSpace(SpaceSpec.model_validate(value | {"exits": exits}))
    spec = SupernetSpec(epochs=1, random_subnets=3, branches=2, precision="fp32")
    supernet = Supernet(space.spec, torch.Generator().manual_seed(3))
    task = SandwichTask(supernet, space, spec, some_digits[1], preprocessing, calibration)
    task.begin_epoch(0)
    x_nchw = calibration[0][:16]
    for loss in task.losses(x_nchw, torch.arange(16) % 10, rng):
        assert torch.isfinite(loss)
        loss.backward()
    trained = {name.split("/")[0] for name, parameter in supernet.shared.items() if parameter.grad is not None}
    assert {"head", "head_boosted"} <= trained
