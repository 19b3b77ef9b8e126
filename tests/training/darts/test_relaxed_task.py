"""Training relaxed networks: the data that weights and architecture learn from, the second order, the published
recipe, and resuming."""

import copy

import numpy as np
import pytest
import torch

from aebnas.data.batches import Batches
from aebnas.data.data_spec import AugmentSpec
from aebnas.runtime.normalise import normalise
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.darts.relaxed_costs import layer_cost, relaxed_costs
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.training.darts.relaxed_spec import RelaxedSpec
from aebnas.training.darts.relaxed_task import RelaxedTask
from aebnas.training.loop import fit

SPACE = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 10,
    "stem": {"width": 4},
    "backbone": "dag",
    "dag": {"nodes": 2, "ops": ["zero", "identity", "conv"], "stacks": [{"width": 4}]},
    "exits": {"at": "every_node", "depth": [0, 1]},
}
PLAIN = {"epochs": 3, "batch_size": 64, "precision": "fp32", "lr": 0.1, "lambda_warmup_epochs": 1, "arch_lr": 0.05}


@pytest.fixture(scope="module")
def make(some_digits, preprocessing, calibration):
    """The function from settings to a task; equal settings give equal weights."""

    def build(weight=0.5, **settings) -> RelaxedTask:
        spec = RelaxedSpec(**(PLAIN | {"controller": 2} | settings))
        torch.manual_seed(0)
        network = RelaxedNetwork(
            SpaceSpec.model_validate(SPACE), spec.controller, spec.stop_heads, torch.Generator().manual_seed(1)
        )
        costs = None if spec.cost == "linspace" else relaxed_costs(network, layer_cost("macs"))
        arch = None
        if spec.bilevel != "joint":
            arch = Batches(some_digits[1], preprocessing, AugmentSpec(), 50)
        return RelaxedTask(network, spec, weight, costs, arch, some_digits[1], preprocessing, calibration, 5)

    return build


def one_step(task, x_nchw, labels_n, epoch=2):
    """One step as the loop does it; returns the names of the parameters that changed and of those with gradients."""
    network = task.module.train()
    task.begin_epoch(epoch)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for loss in task.losses(x_nchw, labels_n, np.random.default_rng(0)):
        loss.backward()
    task.step(torch.amp.GradScaler("cpu", enabled=False))
    moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    return moved, {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}


def architecture_names(network):
    parts = ("alpha", "beta", "controller", "stops")
    return {name for name, _ in network.named_parameters() if name.startswith(parts)}


@pytest.mark.parametrize("bilevel", ["first_order", "second_order"])
def test_weights_learn_only_from_train_and_the_architecture_only_from_arch(make, some_digits, preprocessing, bilevel):
    def batch(images, rows):
        return normalise(images.pixels(rows), preprocessing), images.labels[rows]

    rows = torch.arange(32)
    train, other = batch(some_digits[0], rows), batch(some_digits[0], rows + 32)
    results = {}
    for name, (x_nchw, labels_n) in {"a": train, "b": other}.items():
        task = make(bilevel=bilevel)
        task.begin_epoch(0)
        moved, graded = one_step(task, x_nchw, labels_n)
        wanted = architecture_names(task.module)
        # the controller's last layer is initially zero, so the first step doesn't change the layers before it
        assert {n for n in moved if "controller_conv" not in n} == {n for n in wanted if "controller_conv" not in n}
        assert not graded & wanted and graded
        assert "before.stem.conv.0.weight" in graded and "head.linear.weight" in graded
        results[name] = task
    alphas = [results[name].module.alpha_gk.detach() for name in "ab"]
    heads = [results[name].module.head.linear.weight.grad for name in "ab"]
    assert not torch.equal(*heads)  # the weights' gradients depend on the training batch
    # the first order doesn't depend on it; the second unrolls one step of the weights on it
    assert torch.equal(*alphas) == (bilevel == "first_order")


def test_the_architectures_step_depends_on_arch(make, some_digits, preprocessing):
    x_nchw, labels_n = normalise(some_digits[0].pixels(torch.arange(32)), preprocessing), some_digits[0].labels[:32]
    one, two = make(), make()
    two.arch = Batches(some_digits[0], preprocessing, AugmentSpec(), 50)
    one_step(one, x_nchw, labels_n)
    one_step(two, x_nchw, labels_n)
    assert not torch.equal(one.module.alpha_gk, two.module.alpha_gk)
    assert torch.equal(one.module.head.linear.weight, two.module.head.linear.weight)


@pytest.mark.parametrize("mixing", ["softmax", "straight_through"])
def test_the_second_order_is_the_gradient_through_one_step_of_the_weights(make, some_digits, preprocessing, mixing):
    """Against autograd through w - xi * dL/dw, with the same Gumbel noise."""
    task = make(
        bilevel="second_order", lr=0.02 * 1024 * 11 / 60, controller=0, stop_heads=False, aux=0.0, mixing=mixing
    )
    network = task.module.train()
    task.begin_epoch(2)
    rows = torch.arange(60)
    train = normalise(some_digits[0].pixels(rows), preprocessing), some_digits[0].labels[rows]
    arch = normalise(some_digits[1].pixels(rows), preprocessing), some_digits[1].labels[rows]
    train_noise = task.noise.get_state()
    task._second_order(network, train, arch)
    found = network.alpha_gk.grad.clone()
    next_noise = task.noise.get_state()
    task.noise.set_state(train_noise)

    names = [name for name, p in network.named_parameters() if any(p is w for w in network.weights())]
    weights = dict(zip(names, network.weights(), strict=True))
    slopes = torch.autograd.grad(
        task.loss(network, *train), list(weights.values()), create_graph=True, allow_unused=True
    )
    arch_noise = task.noise.get_state()
    ahead = {
        name: value if slope is None else value - 0.02 * slope
        for (name, value), slope in zip(weights.items(), slopes, strict=True)
    }

    class Loss(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, batch):
            return task.loss(self.inner, *batch)

    loss = torch.func.functional_call(Loss(network), {f"inner.{k}": v for k, v in ahead.items()}, (arch,))
    exact = torch.autograd.grad(loss, network.alpha_gk)[0]
    assert torch.equal(task.noise.get_state(), next_noise)  # the next loss draws new noise
    task.noise.set_state(arch_noise)
    first = torch.autograd.grad(task.loss(network, *arch), network.alpha_gk)[0]
    product, wanted = (found - first).flatten(), (exact - first).flatten()
    assert torch.cosine_similarity(product, wanted, 0) > 0.95  # a finite difference over kinks
    assert 0.75 < product.norm() / wanted.norm() < 1.33
    assert wanted.norm() > 1e-3 * first.norm()


def test_the_published_recipe_trains_everything_on_one_split(make, some_digits, preprocessing):
    task = make(bilevel="joint", cost="linspace")
    x_nchw, labels_n = normalise(some_digits[0].pixels(torch.arange(32)), preprocessing), some_digits[0].labels[:32]
    moved, graded = one_step(task, x_nchw, labels_n)
    assert "alpha_gk" in moved and "stops.0.linear.weight" in moved
    assert not graded & architecture_names(task.module)  # applied already, and cleared
    assert "head.linear.weight" in graded
    np.testing.assert_allclose(task.cost(task.module, torch.ones(1, 3, 3), 2)[0], [0.5, 1.0])


def joint_step(make, images, preprocessing, scale, overflow=False):
    """One step of the published recipe, its loss scaled as in fp16 (unscaled where `scale` is None)."""
    task = make(bilevel="joint", arch_weight_decay=0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=scale is not None, init_scale=scale or 1.0)
    task.module.train()
    task.begin_epoch(2)
    x_nchw, labels_n = normalise(images.pixels(torch.arange(32)), preprocessing), images.labels[:32]
    for loss in task.losses(x_nchw, labels_n, np.random.default_rng(0)):
        scaler.scale(loss).backward()
    if overflow:
        task.module.alpha_gk.grad.fill_(torch.inf)
    task.step(scaler)
    return task


def test_the_published_recipe_steps_the_architecture_by_unscaled_gradients(make, some_digits, preprocessing):
    plain, scaled = (joint_step(make, some_digits[0], preprocessing, scale) for scale in (None, 2.0**16))
    moments = [task.optimiser.state[task.module.alpha_gk]["exp_avg"] for task in (plain, scaled)]
    assert moments[0].any()
    torch.testing.assert_close(*moments)
    torch.testing.assert_close(plain.module.alpha_gk, scaled.module.alpha_gk)


def test_gradients_that_overflowed_do_not_change_the_architecture(make, some_digits, preprocessing):
    before = make(bilevel="joint").module.alpha_gk
    task = joint_step(make, some_digits[0], preprocessing, 2.0**16, overflow=True)
    assert torch.equal(task.module.alpha_gk, before)
    assert not graded_architecture(task)


def graded_architecture(task):
    return [parameter for parameter in task.module.architecture_parameters() if parameter.grad is not None]


@pytest.mark.parametrize("bilevel", ["first_order", "second_order", "joint"])
def test_half_precision_learns_the_same_architecture_up_to_rounding(make, batches, bilevel):
    alphas = {}
    for precision in ("fp32", "fp16"):
        task = make(bilevel=bilevel, precision=precision, epochs=1, lambda_warmup_epochs=0)
        start = task.module.alpha_gk.detach().clone()
        fit(task, batches, task.spec, 5, "relaxed", None)
        alphas[precision] = task.module.alpha_gk.detach() - start
    moved = [alpha.flatten() for alpha in alphas.values()]
    assert torch.cosine_similarity(*moved, 0) > 0.9
    assert 0.8 < moved[1].norm() / moved[0].norm() < 1.25


def test_lambda_rises_after_its_warm_up_and_the_temperature_falls():
    spec = RelaxedSpec(epochs=10, lambda_warmup_epochs=2, temperature=(1.0, 0.1))
    assert [round(spec.lambda_at(epoch, 0.8), 6) for epoch in (0, 1, 2, 5, 9)] == [0, 0, 0.1, 0.4, 0.8]
    cosine = spec.model_copy(update={"ramp": "cosine"})
    assert [round(cosine.lambda_at(epoch, 0.8), 6) for epoch in (1, 5, 9)] == [0, 0.4, 0.8]
    assert [spec.temperature_at(epoch) for epoch in (0, 9)] == pytest.approx([1.0, 0.1])
    assert spec.temperature_at(3) / spec.temperature_at(2) == pytest.approx(0.1 ** (1 / 9))


def test_a_large_lambda_lowers_the_expected_cost(make, batches):
    costs = {}
    for weight in (0.0, 50.0):
        task = make(weight)
        trained = fit(task, batches, task.spec, 5, "relaxed", None)
        row = task.validate(trained)[0]
        assert {"accuracy", "exit1_accuracy", "exit2_accuracy", "expected_cost", "stop1", "lambda"} <= row.keys()
        costs[weight] = row["expected_cost"]
    assert costs[50.0] < 0.8 * costs[0.0]


@pytest.mark.parametrize("mixing", ["softmax", "straight_through"])
def test_a_resumed_training_gives_equal_weights(make, batches, tmp_path, mixing):
    class Stopped(Exception):
        pass

    def stop(rows):
        if rows and rows[-1]["epoch"] == 2:
            raise Stopped

    whole = fit((task := make(mixing=mixing)), batches, task.spec, 5, "relaxed", None)
    path = tmp_path / "relaxed.pt"
    with pytest.raises(Stopped):
        fit((task := make(mixing=mixing)), batches, task.spec, 5, "relaxed", path, stop)
    again = fit((task := make(mixing=mixing)), batches, task.spec, 5, "relaxed", path)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_finished_is_a_copy_that_mixes_by_softmax(make, calibration):
    task = make(mixing="straight_through")
    task.begin_epoch(1)
    before = copy.deepcopy(task.module.state_dict())
    finished = task.finished(task.module, calibration)
    assert not finished.hard and task.module.hard
    assert all(torch.equal(value, before[name]) for name, value in task.module.state_dict().items())
