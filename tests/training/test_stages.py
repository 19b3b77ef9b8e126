"""Exit-aware training from start to end: which parts train in which stage, and which stay unchanged."""

import copy

import numpy as np
import pytest
import torch

from aebnas.cost.counts import count_graph
from aebnas.policies.exit_table.tabulate import tabulate
from aebnas.runtime.network import Network
from aebnas.space.lowering import lower
from aebnas.space.stop_heads import with_stop_heads
from aebnas.training import stages
from aebnas.training.exits.exit_losses import Blended
from aebnas.training.exits.frozen_backbone import branch_nodes
from aebnas.training.stages import BACKBONE_CHECKPOINT, fit_network
from aebnas.training.training_spec import TrainSpec


@pytest.fixture
def train(two_stages, batches, calibration, some_digits):
    """The function from settings to the network before and after training, and the reported rows."""
    architecture = two_stages.extreme(largest=True)

    def run(graph=None, checkpoint=None, **settings):
        plain = {"epochs": 2, "batch_size": 64, "precision": "fp32", "recipe": "classic", "lr": 8.8, "ema": 0.9}
        torch.manual_seed(3)
        network = Network(graph or lower(architecture))
        before = copy.deepcopy(network)
        reported = []
        trained = fit_network(
            network,
            architecture,
            TrainSpec(**(plain | settings)),
            batches,
            11,
            "test",
            checkpoint,
            some_digits[1],
            calibration,
            calibration,
            reported.append,
        )
        return before, trained, reported

    return run


def weights_of(network, names):
    return {
        f"{name}.{key}": value.clone()
        for name in names
        for key, value in network.nodes[name].state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def changed(one, other):
    return [name for name in one if not torch.equal(one[name], other[name])]


def backbone_nodes(network):
    return [name for name in network.nodes if name not in branch_nodes(network)]


def test_the_second_stage_changes_neither_the_backbone_nor_its_norm_statistics(train, monkeypatch):
    seen = []
    real = stages.SingleTask

    def note(network, *rest):
        seen.append(copy.deepcopy(network))
        return real(network, *rest)

    monkeypatch.setattr(stages, "SingleTask", note)
    _, after, reported = train(epochs=3, exits={"frozen_backbone": 0.34})
    first, middle = seen
    backbone, branches = backbone_nodes(after), branch_nodes(after)
    assert changed(weights_of(first, backbone), weights_of(middle, backbone))
    assert not changed(weights_of(middle, backbone), weights_of(after, backbone))
    moved = changed(weights_of(middle, branches), weights_of(after, branches))
    assert len(moved) == len(weights_of(after, branches))
    assert [row["phase"] for row in reported[-1]] == ["test, backbone"] * 2 + ["test"]
    assert not after.training


def test_in_the_first_stage_branches_get_no_gradient(train, make_single, batches):
    task = make_single(exits={"backbone_first": 0.5})
    task.module.train()
    task.begin_epoch(0)
    x_nchw, labels_n = next(batches.epoch(torch.Generator().manual_seed(0)))
    next(task.losses(x_nchw, labels_n, np.random.default_rng(0))).backward()
    for name in branch_nodes(task.module):
        assert all(p.grad is None for p in task.module.nodes[name].parameters())
    assert any(p.grad.any() for p in task.module.nodes["stem"].parameters())
    task.module.zero_grad()
    task.begin_step(0.5)
    next(task.losses(x_nchw, labels_n, np.random.default_rng(0))).backward()
    for name in branch_nodes(task.module):
        assert any(p.grad.any() for p in task.module.nodes[name].parameters()), name


def test_two_stages_resume_from_their_checkpoints_with_equal_results(train, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    _, once, _ = train(checkpoint=checkpoint, epochs=2, exits={"frozen_backbone": 0.5})
    assert (tmp_path / BACKBONE_CHECKPOINT).exists()
    checkpoint.unlink()  # killed in the second stage
    _, again, reported = train(checkpoint=checkpoint, epochs=2, exits={"frozen_backbone": 0.5})
    assert all(torch.equal(a, b) for a, b in zip(once.state_dict().values(), again.state_dict().values(), strict=True))
    assert [row["phase"] for row in reported[-1]] == ["test, backbone", "test"]


def test_a_network_without_early_exits_trains_its_backbone_in_all_epochs(two_stages, batches, calibration):
    architecture = two_stages.extreme(largest=False)
    assert not architecture.exits
    spec = TrainSpec(epochs=2, batch_size=64, precision="fp32", exits={"frozen_backbone": 0.5})
    torch.manual_seed(3)
    network = Network(lower(architecture))
    before = copy.deepcopy(network.state_dict())
    trained = fit_network(
        network, architecture, spec, batches, 11, "test", None, None, calibration, calibration
    )  # fmt: skip
    assert changed(before, trained.state_dict())


def test_blended_exits_train_their_weights_and_result_in_a_plain_network(make_single, batches, train):
    task = make_single(exits={"blended": True})
    assert isinstance(task.module, Blended)
    task.begin_epoch(0)
    x_nchw, labels_n = next(batches.epoch(torch.Generator().manual_seed(0)))
    logits = task.module(x_nchw)
    expected = torch.stack(logits).mean(0)  # equal weights at first
    torch.testing.assert_close(task.module.blend(logits), expected)
    (loss,) = task.losses(x_nchw, labels_n, np.random.default_rng(0))
    loss.backward()
    assert task.module.beta_e.grad.any()
    before, after, _ = train(exits={"blended": True})
    assert type(after) is Network and set(after.state_dict()) == set(before.state_dict())


def test_l_policy_adds_the_expected_cost(make_single, batches):
    x_nchw, labels_n = next(batches.epoch(torch.Generator().manual_seed(0)))
    losses = {}
    for weight in (0.0, 1.0, 2.0):
        task = make_single(exits={"policy_loss": weight})
        task.begin_epoch(0)
        losses[weight] = next(task.losses(x_nchw, labels_n, np.random.default_rng(0))).item()
    cost = losses[1.0] - losses[0.0]
    assert losses[2.0] - losses[0.0] == pytest.approx(2 * cost, rel=1e-3)
    assert 0.9 < cost <= 1.0  # no sample is confident before training: nearly all go to the last exit


def test_l_policy_makes_early_exits_more_confident(train, some_digits, preprocessing):
    confidence = []
    for weight in (0.0, 2.0):
        _, network, _ = train(epochs=4, lr=17.6, exits={"policy_loss": weight, "policy_temperature": 0.2})
        table = tabulate(network, some_digits[1], preprocessing, ["confidence"])
        confidence.append(table.scores["confidence"][:, :-1].mean(0))
    assert (confidence[1] > confidence[0]).all()


def test_stop_heads_train_with_the_network_and_are_charged(train, two_stages):
    plain = lower(two_stages.extreme(largest=True))
    graph = with_stop_heads(plain)
    assert [bool(e.stop) for e in graph.exits] == [True, True, False]
    channels = [plain.shapes[e.site][0] for e in plain.exits[:-1]]
    more = [a - b for a, b in zip(count_graph(graph).macs.branch_e, count_graph(plain).macs.branch_e, strict=True)]
    assert more == [*channels, 0]
    assert with_stop_heads(graph) == graph
    before, after, _ = train(graph=graph, exits={"stop_heads": True, "policy_loss": 0.1})
    heads = [e.stop for e in graph.exits[:-1]]
    assert len(changed(weights_of(before, heads), weights_of(after, heads))) == 4
