"""Two processes over gloo against one: gradients, whole trainings, failures, all in a single start of the two."""

import pickle

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from aebnas.core.errors import UserError
from aebnas.supernet.synced_norm import SyncedNorm
from aebnas.training.loop import fit
from aebnas.training.ranks import SINGLE_PROCESS, Ranks

WORLD = 2
TRAINING = {"epochs": 3, "ema": 0.9, "random_subnets": 0, "branches": 2, "workers": WORLD}


def gradients(task, x_nchw, labels_n, ranks=SINGLE_PROCESS):
    task.module.double().zero_grad()  # in double precision rounding moves no ReLU across its kink
    for loss in task.losses(x_nchw.double(), labels_n, np.random.default_rng(7)):
        loss.backward()
    ranks.average_gradients(task.module.parameters())
    return {name: p.grad.clone() for name, p in task.module.named_parameters() if p.grad is not None}


def weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def norm_step(norm, x_nchw, pulled_nchw):
    """Output, and gradients of input, weight and bias of the mean over samples of sum(output * pulled)."""
    x_nchw = x_nchw.clone().requires_grad_()
    output = norm(x_nchw)
    ((output * pulled_nchw).sum() / len(x_nchw)).backward()
    return [output.detach(), x_nchw.grad, norm.weight.grad, norm.bias.grad]


def make_norm(kind):
    norm = kind(3, track_running_stats=False).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        norm.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    return norm


def norm_input():
    generator = torch.Generator().manual_seed(0)
    x_nchw = torch.randn(8, 3, 5, 4, generator=generator, dtype=torch.float64)
    x_nchw += torch.arange(8).view(-1, 1, 1, 1)  # shares with means far from each other
    return x_nchw, torch.randn(8, 3, 5, 4, generator=generator, dtype=torch.float64)


class InDouble:
    """Batches in double precision, where rounding moves no ReLU across its kink."""

    def __init__(self, batches):
        self.batches, self.images_per_step = batches, batches.images_per_step

    def __len__(self):
        return len(self.batches)

    def epoch(self, *args, **kwargs):
        for x_nchw, labels_n in self.batches.epoch(*args, **kwargs):
            yield x_nchw.double(), labels_n


def train(task, batches, checkpoint, on_rows=lambda rows: None, ranks=SINGLE_PROCESS):
    task.module.double()
    task.validate = lambda module: [{"subnet": "not validated"}]
    return weights(fit(task, InDouble(batches), task.spec, 5, "test", checkpoint, on_rows, ranks=ranks))


def raised_by(act):
    try:
        act()
    except Exception as error:
        return error
    return None


def cut_after_one(rows):
    if rows and rows[-1]["epoch"] == 1:
        raise UserError("stopped")


def rank_work(rank, folder, pickled):
    """The work of both processes, with a task for each part of it."""
    make, batches = pickle.loads(pickled)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/init", rank=rank, world_size=WORLD)
    ranks, results = Ranks(rank, WORLD), {}
    x_nchw, labels_n = next(batches.epoch(torch.Generator().manual_seed(0), rank=rank, world=WORLD))
    for name in ("synced", "own"):
        results[name] = gradients(make[name], x_nchw, labels_n, ranks)
    share = slice(4 * rank, 4 * rank + 4)
    results["norm"] = norm_step(make_norm(SyncedNorm), *(part[share] for part in norm_input()))
    results["flat"] = ranks.mean(torch.full((2,), float(rank)))

    def run(name, checkpoint, on_rows=lambda rows: None):
        return train(make[name], batches, folder / checkpoint, on_rows, ranks)

    seen = []
    results["whole"] = run("whole", "whole.pt", seen.append)
    results["rows"] = seen[-1] if seen else None
    results["cut"] = raised_by(lambda: run("cut", "cut.pt", cut_after_one))
    results["resumed"] = run("resumed", "cut.pt")
    results["nan"] = raised_by(lambda: run("nan", "nan.pt"))
    (folder / "bad.pt").write_bytes(b"no checkpoint")
    results["bad"] = raised_by(lambda: run("bad", "bad.pt"))
    torch.save(results, folder / f"results{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def make(make_sandwich):
    names = ("synced", "own", "whole", "cut", "resumed", "nan", "bad")
    special = {"own": {"sync_norms": False}, "nan": {"lr": 1e30, "warmup": 0, "momentum": 0.0}}
    return {name: make_sandwich(**(TRAINING | special.get(name, {}))) for name in names}


@pytest.fixture(scope="module")
def results(tmp_path_factory, make, batches):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(
        rank_work, (folder, pickle.dumps((make, batches))), WORLD
    )  # pickled: they must not share weights
    return [torch.load(folder / f"results{rank}.pt", weights_only=False) for rank in range(WORLD)]


@pytest.fixture
def batch(batches):
    return next(batches.epoch(torch.Generator().manual_seed(0)))


def assert_close(got, expected):
    assert got.keys() == expected.keys()
    size = max(float(gradient.abs().max()) for gradient in expected.values())
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-6 * size)


def test_gradients_equal_those_of_one_process_on_the_whole_batch(results, make_sandwich, batch):
    expected = gradients(make_sandwich(**TRAINING), *batch)
    for rank in range(WORLD):
        assert_close(results[rank]["synced"], expected)
    assert len(expected) < len(list(make_sandwich().module.parameters()))  # some stay without a gradient


def test_without_synced_norms_gradients_are_the_mean_over_the_shares(results, make_sandwich, batch):
    task, (x_nchw, labels_n) = make_sandwich(**TRAINING), batch
    halves = [gradients(task, x_nchw[part], labels_n[part]) for part in (slice(0, 32), slice(32, 64))]
    expected = {name: (halves[0][name] + halves[1][name]) / 2 for name in halves[0]}
    assert_close(results[0]["own"], expected)
    with pytest.raises(AssertionError):
        assert_close(results[0]["own"], results[0]["synced"])


def test_synced_norm_is_batch_norm_over_all_shares(results):
    expected = norm_step(make_norm(nn.BatchNorm2d), *norm_input())
    got = [results[rank]["norm"] for rank in range(WORLD)]
    torch.testing.assert_close(torch.cat([got[0][0], got[1][0]]), expected[0])
    # each rank's loss is the mean over its share, hence twice the whole batch's per sample
    torch.testing.assert_close(torch.cat([got[0][1], got[1][1]]) / WORLD, expected[1])
    for index in (2, 3):
        torch.testing.assert_close((got[0][index] + got[1][index]) / WORLD, expected[index])


def test_in_a_single_process_a_synced_norm_is_a_batch_norm_and_ranks_do_nothing():
    expected = norm_step(make_norm(nn.BatchNorm2d), *norm_input())
    for got, wanted in zip(norm_step(make_norm(SyncedNorm), *norm_input()), expected, strict=True):
        assert torch.equal(got, wanted)
    assert SINGLE_PROCESS.mean(torch.tensor(3.0)) == 3 and SINGLE_PROCESS.from_first(lambda: "x") == "x"
    with pytest.raises(ValueError, match=r"rank must be in 0\.\.1, but got 2"):
        Ranks(2, 2)


def test_a_mean_over_ranks_by_hand(results):
    assert all(results[rank]["flat"].tolist() == [0.5, 0.5] for rank in range(WORLD))


def test_a_training_ends_equal_on_all_ranks_and_as_in_one_process(results, make_sandwich, batches, tmp_path):
    assert torch.equal(results[0]["whole"], results[1]["whole"])
    task, rows = make_sandwich(**TRAINING), []
    single = train(task, batches, tmp_path / "c.pt", rows.append)
    moved = float((single - weights(make_sandwich(**TRAINING).module)).norm())
    assert float((results[0]["whole"] - single).norm()) < 1e-4 * moved
    losses = [[row["loss"] for row in some] for some in (results[0]["rows"], rows[-1])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert results[1]["rows"] is None  # only rank 0 reports


def test_an_interrupted_training_ends_with_the_same_weights_on_all_ranks(results):
    for rank in range(WORLD):
        assert str(results[rank]["cut"]) == "stopped"  # raised on rank 0, passed on to all
        assert torch.equal(results[rank]["resumed"], results[0]["whole"])


@pytest.mark.parametrize(
    "name, rule",
    [("nan", "loss must stay finite, but got nan in epoch"), ("bad", "must be a checkpoint of this run")],
)
def test_errors_reach_all_ranks_as_one_line(results, name, rule):
    for rank in range(WORLD):
        error = results[rank][name]
        assert isinstance(error, UserError) and rule in str(error) and "\n" not in str(error)
