import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from aebnas.space.lowering import lower


@pytest.fixture
def batch(batches):
    return next(batches.epoch(torch.Generator().manual_seed(0)))


def watched(task, monkeypatch):
    """The architectures of each forward pass, and the nodes that were run for it."""
    passes, forward_many, run = [], task.module.forward_many, task.module._run

    def note_pass(x_nchw, architectures, **settings):
        passes.append((list(architectures), []))
        return forward_many(x_nchw, architectures, **settings)

    def note_run(node, *args):
        passes[-1][1].append(node.name)
        return run(node, *args)

    monkeypatch.setattr(task.module, "forward_many", note_pass)
    monkeypatch.setattr(task.module, "_run", note_run)
    return passes


def backbone(architecture):
    return architecture.stem, architecture.stages


@pytest.mark.parametrize("randoms, branches", [(0, 1), (1, 2), (3, 4)])
def test_each_step_runs_the_largest_the_smallest_and_random_paths(
    make_sandwich, two_stages, batch, monkeypatch, randoms, branches
):
    task = make_sandwich(random_subnets=randoms, branches=branches)
    passes = watched(task, monkeypatch)
    losses = list(task.losses(*batch, np.random.default_rng(0)))
    assert len(losses) == len(passes) == 2 + randoms
    assert passes[0][0][0] == two_stages.extreme(largest=True)
    assert backbone(passes[1][0][0]) == backbone(two_stages.extreme(largest=False))
    for architectures, _ in passes:
        assert len(architectures) == branches
        assert len({backbone(architecture) for architecture in architectures}) == 1
        assert all(len(architecture.exits) == 2 for architecture in architectures)


def test_random_paths_follow_the_generator(make_sandwich, batch, monkeypatch):
    task = make_sandwich(random_subnets=2)
    passes = watched(task, monkeypatch)
    for seed in (0, 0, 1):
        list(task.losses(*batch, np.random.default_rng(seed)))
    drawn = [[architectures for architectures, _ in passes[start : start + 4]] for start in (0, 4, 8)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_branch_sets_share_the_backbone(make_sandwich, batch, monkeypatch):
    task = make_sandwich(random_subnets=1, branches=3)
    passes = watched(task, monkeypatch)
    list(task.losses(*batch, np.random.default_rng(0)))
    for architectures, ran in passes:
        distinct, in_all = set(), 0
        for architecture in architectures:
            path = {"input": "input"}  # a layer and all layers before it
            for node in lower(architecture).nodes:
                path[node.name] = (node.weights, node.attrs, *(path[name] for name in node.inputs))
                distinct.add(path[node.name])
                in_all += 1
        assert len(ran) == len(distinct) < in_all
        assert all(ran.count(name) == 1 for name in ran if not name.startswith("exit"))


def test_the_loss_is_the_mean_over_paths_and_branch_sets(make_sandwich, batch):
    """Without a teacher and with a single exit to weigh, a step is plain cross-entropy of the last exits."""
    only_last = {"stage1": 0, "stage2": 0, "last": 1}
    settings = {"distillation": 0.0, "label_smoothing": 0.0, "exit_weights": only_last, "random_subnets": 0}
    task = make_sandwich(**settings)
    losses = [float(loss.detach()) for loss in task.losses(*batch, np.random.default_rng(0))]
    x_nchw, labels_n = batch
    expected = [
        cross_entropy(task.module(x_nchw, architecture)[-1], labels_n).item() / 2
        for architecture in (task.largest, task.smallest)
    ]
    assert losses == pytest.approx(expected, rel=1e-5)


def test_students_give_the_teacher_no_gradient(make_sandwich, two_stages, batch):
    """Weights that only the largest path uses must get no gradient from the smallest one's loss."""
    task = make_sandwich(distillation=1.0, random_subnets=0)
    _, students = task.losses(*batch, np.random.default_rng(0))
    students.backward()
    wide = task.module.shared["stem/conv/0/weight"]  # both paths use the stem
    assert wide.grad is not None and wide.grad.abs().sum() > 0
    used = {node.weights for node in lower(task.smallest).nodes}
    for key, parameter in task.module.shared.items():
        if key.split("/")[0].startswith("stage") and not any(key.startswith(f"{w.replace('.', '/')}/") for w in used):
            assert parameter.grad is None


def test_every_exit_gets_a_gradient(make_sandwich, batch):
    """The last exit of the largest path learns from the labels even where the others only follow the teacher."""
    task = make_sandwich(distillation=1.0, random_subnets=0, branches=1)
    captured, forward_many = [], task.module.forward_many

    def keep(*args, **settings):
        captured.append(forward_many(*args, **settings))
        for logits_nc in captured[-1][0]:
            logits_nc.retain_grad()
        return captured[-1]

    task.module.forward_many = keep
    for loss in task.losses(*batch, np.random.default_rng(0)):
        loss.backward()
    assert [len(outputs[0]) for outputs in captured] == [3, 3]
    for outputs in captured:
        for logits_nc in outputs[0]:
            assert logits_nc.grad is not None and logits_nc.grad.abs().sum() > 0


def test_validation_covers_the_largest_and_the_smallest_subnet(make_sandwich):
    task = make_sandwich()
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    rows = task.validate(task.module)
    assert [row["subnet"] for row in rows] == ["largest", "smallest"]
    assert rows[0]["avg_macs_at_0.9"] > rows[1]["avg_macs_at_0.9"]
    for row in rows:
        assert all(0 <= row[f"exit{number}_accuracy"] <= 1 for number in (1, 2, 3))
    assert rows == task.validate(task.module)
    assert all(torch.equal(before[name], value) for name, value in task.module.state_dict().items())
