import pandas as pd
import pytest
import torch

from aebnas.core.errors import UserError
from aebnas.training.loop import fit, write_rows
from aebnas.training.recipes.optimisers import decoupled
from aebnas.training.recipes.schedules import cosine


class Stopped(Exception):
    """Simulates a kill."""


def train(task, batches, path, on_rows=lambda rows: None, seed=5):
    return fit(task, batches, task.spec, seed, "test", path, on_rows)


def weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("kind", ["make_sandwich", "make_single"])
def test_the_loss_falls_and_the_accuracy_rises(kind, request, batches, tmp_path):
    task = request.getfixturevalue(kind)(epochs=10, validate_every=5, ema=0.9, lr=52.8)
    rows = []
    train(task, batches, tmp_path / "c.pt", lambda all_rows: rows.append(all_rows))
    table = pd.DataFrame(rows[-1])
    assert sorted(set(table.epoch)) == [5, 10]
    by_epoch = table.groupby("epoch").loss.first()
    assert by_epoch[10] < by_epoch[5] - 0.1
    assert table.exit3_accuracy[table.epoch == 10].max() > 0.5


def test_an_interrupted_training_ends_with_the_same_weights(make_sandwich, batches, tmp_path):
    settings = {"epochs": 3, "ema": 0.9}
    whole_rows, rows = [], []
    whole = train(make_sandwich(**settings), batches, tmp_path / "whole.pt", whole_rows.append)

    def stop_after_two(so_far):
        if so_far and so_far[-1]["epoch"] == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(make_sandwich(**settings), batches, tmp_path / "cut.pt", stop_after_two)
    resumed = train(make_sandwich(**settings), batches, tmp_path / "cut.pt", rows.append)
    assert torch.equal(weights(whole), weights(resumed))
    assert rows[0][-1]["epoch"] == 2  # saved rows are reported at once
    without_times = [
        [{k: v for k, v in row.items() if "second" not in k} for row in some[-1]] for some in (whole_rows, rows)
    ]
    assert without_times[0] == without_times[1]


def test_a_finished_training_is_not_repeated(make_single, batches, tmp_path, monkeypatch):
    trained = train(make_single(), batches, tmp_path / "c.pt")
    task = make_single()
    monkeypatch.setattr(task, "losses", lambda *args: pytest.fail("trained again"))
    assert torch.equal(weights(train(task, batches, tmp_path / "c.pt")), weights(trained))


@pytest.mark.parametrize("kind", ["make_sandwich", "make_single"])
def test_a_training_ends_at_its_compute_and_its_schedule_with_it(kind, request, batches, tmp_path):
    """Of steps and compute the shorter counts; the learning rate falls to zero there."""
    whole, half = [], []
    train(request.getfixturevalue(kind)(epochs=2), batches, tmp_path / "whole.pt", whole.append)
    pflop = whole[-1][-1]["pflop"]
    assert pflop > 0 and whole[-1][-1]["progress"] == 1
    bounded = request.getfixturevalue(kind)(epochs=2, max_pflop=0.6 * pflop)
    train(bounded, batches, tmp_path / "half.pt", half.append)
    last = half[-1][-1]
    assert last["epoch"] == 2 and last["progress"] == 1
    assert 0.6 * pflop <= last["pflop"] < 0.75 * pflop
    assert last["lr"] < 0.3 * bounded.spec.lr / 176


def test_a_training_may_be_limited_by_steps_or_compute_alone(make_single, batches, tmp_path):
    rows = {}
    for name, length in {"epochs": {"epochs": 2}, "steps": {"epochs": None, "steps": 8}}.items():
        rows[name] = []
        train(make_single(**length), batches, tmp_path / f"{name}.pt", rows[name].append)
    timeless = [[{k: v for k, v in row.items() if "second" not in k} for row in some[-1]] for some in rows.values()]
    assert timeless[0] == timeless[1]
    pflop, seen = rows["steps"][-1][-1]["pflop"], []
    train(make_single(epochs=None, max_pflop=0.99 * pflop), batches, tmp_path / "pflop.pt", seen.append)
    assert seen[-1][-1]["pflop"] == pytest.approx(pflop)


def test_seeds_matter(make_single, batches, tmp_path):
    a, b, c = (
        weights(train(make_single(epochs=1), batches, tmp_path / f"{number}.pt", seed=seed))
        for number, seed in enumerate([1, 1, 2])
    )
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_loss_that_is_not_finite_is_reported_in_one_line(make_single, batches, tmp_path):
    task = make_single(lr=1e30, epochs=3, warmup=0, momentum=0.0)
    with pytest.raises(UserError, match=r"loss must stay finite, but got (nan|inf) in epoch \d; lower lr") as raised:
        train(task, batches, tmp_path / "c.pt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_checkpoint_that_cannot_be_used_is_reported(make_single, batches, tmp_path, content):
    path = tmp_path / "c.pt"
    if content is None:  # of another network
        torch.save({"module": {"other": torch.zeros(1)}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"c\.pt: must be a checkpoint of this run"):
        train(make_single(), batches, path)


def test_averaged_weights_by_hand(make_single, batches, tmp_path):
    """The first step's weights, then at step k a decay of k / (9 + k), at most the specified one."""
    decay, task, seen = 0.2, make_single(epochs=1, ema=0.2), []
    losses = task.losses

    def before_each_step(*args):
        seen.append(weights(task.module))
        yield from losses(*args)

    task.losses = before_each_step
    averaged = train(task, batches, tmp_path / "c.pt")
    seen.append(weights(task.module))
    expected = seen[1]
    for step, current in enumerate(seen[2:], start=2):
        share = min(decay, step / (9 + step))
        expected = share * expected + (1 - share) * current
    assert len(seen) == 5
    torch.testing.assert_close(weights(averaged), expected)
    assert not torch.equal(weights(averaged), weights(task.module))


def test_without_averaging_the_weights_are_the_last_ones(make_single, batches, tmp_path):
    task = make_single(epochs=1, ema=0.0)
    assert train(task, batches, tmp_path / "c.pt") is task.module


def test_clipping_bounds_the_step(make_single, batches, tmp_path):
    """Plain SGD without decay moves at most the learning rate times the clipped norm."""
    settings = {"epochs": 1, "ema": 0.0, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0, "lr": 8.0}
    moved = []
    for clip in (1e-3, 1e9):
        task = make_single(clip=clip, **settings)
        first = weights(task.module)
        train(task, batches, tmp_path / f"{clip}.pt")
        moved.append(float((weights(task.module) - first).norm()))
    lr, _ = decoupled(task.spec, 64)
    steps_by_hand = lr * sum(cosine((step + 0.5) / len(batches), 0) for step in range(len(batches)))
    assert 0 < moved[0] <= 1e-3 * steps_by_hand * (1 + 1e-3) < moved[1]


def test_norms_and_biases_do_not_decay(make_single, batches, tmp_path):
    task = make_single(epochs=1, ema=0.0, momentum=0.0, weight_decay=0.1, clip=1e-12, warmup=0)
    before = {name: p.detach().clone() for name, p in task.module.named_parameters()}
    train(task, batches, tmp_path / "c.pt")
    for name, parameter in task.module.named_parameters():
        change = (parameter.detach() - before[name]).abs().max()
        assert (change > 1e-4) == (parameter.ndim > 1), name


@pytest.mark.parametrize("precision, dtype", [("bf16", torch.bfloat16), ("fp32", torch.float32)])
@pytest.mark.parametrize("kind", ["make_sandwich", "make_single"])
def test_training_computes_in_the_specified_precision(kind, precision, dtype, request, batches, tmp_path):
    task = request.getfixturevalue(kind)(precision=precision, epochs=1)
    dtypes, losses, forward = set(), task.losses, torch.nn.Conv2d.forward

    def noting(module, x_nchw):
        output = forward(module, x_nchw)
        if torch.is_grad_enabled():  # in training, not in validation
            dtypes.add(output.dtype)
        return output

    def patched(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.Conv2d, "forward", noting)
            yield from losses(*args)

    task.losses = patched
    trained = train(task, batches, tmp_path / "c.pt")
    assert dtypes == {dtype}
    assert {parameter.dtype for parameter in trained.parameters()} == {torch.float32}


def test_training_does_not_change_the_thread_count(make_single, batches, tmp_path):
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        task = make_single(epochs=1)
        train(task, batches, tmp_path / "c.pt", lambda rows: seen.append(torch.get_num_threads()))
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_rows_are_a_table(tmp_path):
    write_rows(tmp_path / "m.csv", [{"epoch": 1, "loss": 0.25}, {"epoch": 2, "loss": 0.125}])
    assert (tmp_path / "m.csv").read_text().splitlines() == ["epoch,loss", "1,0.25", "2,0.125"]


@pytest.mark.parametrize(("first", "resumed"), [("fp16", "fp32"), ("fp32", "fp16"), ("fp16", "bf16"), ("bf16", "fp16")])
def test_a_resumed_training_keeps_the_precision_it_started_with(make_single, batches, tmp_path, first, resumed):
    """In fp16 gradients are scaled, in the others not, whatever precision the resuming session specifies."""
    whole = train(make_single(precision=first), batches, tmp_path / "whole.pt")

    def stop_after_one(so_far):
        if so_far and so_far[-1]["epoch"] == 1:
            raise Stopped

    with pytest.raises(Stopped):
        train(make_single(precision=first), batches, tmp_path / "cut.pt", stop_after_one)
    again = train(make_single(precision=resumed), batches, tmp_path / "cut.pt")
    assert torch.equal(weights(whole), weights(again))
