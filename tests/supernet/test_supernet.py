"""The Supernet equals its extracted networks, is stateless, and shares work and weights."""

import copy
import math
import threading

import pytest
import torch
from torch.nn.functional import batch_norm
from torch.utils.flop_counter import FlopCounterMode

from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.supernet.elastic import slice_to
from aebnas.supernet.supernet import Supernet

CLOSE = 1e-5


@pytest.fixture(scope="module")
def supernets(randomise_module):
    """The function from a space to its Supernet with all weights random, norm weights included."""
    made = {}

    def of(space: SearchSpace) -> Supernet:
        if id(space) not in made:
            net = Supernet(space.spec, torch.Generator().manual_seed(0))
            for parameter_name, parameter in net.shared.items():
                generator = torch.Generator().manual_seed(len(parameter_name))
                with torch.no_grad():
                    if parameter.ndim == 1:
                        shift = 0.5 if parameter_name.endswith("weight") else -0.5
                        parameter.copy_(torch.rand(parameter.shape, generator=generator) + shift)
                    elif parameter.ndim == 2:  # classifiers are initialised near zero
                        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
            made[id(space)] = net, space
        return made[id(space)][0]

    return of


@pytest.fixture(scope="module")
def random_stats(randomise_module):
    """The function that draws norm statistics for an architecture."""

    def draw(architecture, seed=0):
        return dict(randomise_module(Network(lower(architecture)), seed).named_buffers())

    return draw


def difference(logits, others):
    return max((a - b).abs().max().item() for a, b in zip(logits, others, strict=True))


def test_extracted_networks_equal_the_supernet(bundled, architectures, pixels, supernets, random_stats):
    net = supernets(bundled)
    for seed, architecture in enumerate(architectures(bundled, 40)):
        stats, x = random_stats(architecture, seed), pixels(architecture, 2, seed)
        with torch.no_grad():
            shared, extracted = net(x, architecture, stats), net.extract(architecture, stats)(x)
        assert len(shared) == len(architecture.exits) + 1
        assert difference(shared, extracted) <= CLOSE
        assert min(logits.std().item() for logits in shared) > 0.01  # outputs are not all near zero


@pytest.mark.parametrize("fault", ["swapped statistics", "norm weights", "slice offset", "kernel corner"])
def test_the_equality_test_detects_wrong_slices(digits, architectures, pixels, supernets, random_stats, fault):
    net = supernets(digits)
    failed = 0
    for seed, architecture in enumerate(architectures(digits, 10)):
        stats, x = random_stats(architecture, seed), pixels(architecture, 2, seed)
        with torch.no_grad():
            shared = net(x, architecture, stats)
            if fault == "swapped statistics":
                name = "nodes.stem.conv.1.running_"
                stats |= {name + "mean": stats[name + "var"], name + "var": stats[name + "mean"].abs()}
            extracted = net.extract(architecture, stats)
            if fault == "norm weights":
                extracted.nodes["stem"].conv[1].weight.fill_(1.0)
            elif fault in WRONG_SLICES:
                for shared_name, parameter in parameters_of(extracted):
                    parameter.copy_(WRONG_SLICES[fault](net.shared[shared_name], parameter.shape))
            failed += difference(shared, extracted(x)) > CLOSE
    assert failed >= 5  # the largest architecture has nothing to slice


def last_channels(parameter, shape):
    return parameter[tuple(slice(have - want, None) for have, want in zip(parameter.shape, shape, strict=True))]


def kernel_corner(parameter, shape):
    return parameter[tuple(slice(want) for want in shape)]


WRONG_SLICES = {"slice offset": last_channels, "kernel corner": kernel_corner}


def parameters_of(network):
    """Pairs of a parameter's name in the supernet and the parameter, of every parameter of a network."""
    for node in network.graph.nodes:
        for name, parameter in network.nodes[node.name].named_parameters():
            yield f"{node.weights}/{name}".replace(".", "/"), parameter


def test_initial_weights_depend_on_the_generator_only(digits):
    def weights(seed):
        return Supernet(digits.spec, torch.Generator().manual_seed(seed)).state_dict()

    torch.manual_seed(1)
    first = weights(0)
    torch.manual_seed(2)
    assert all(torch.equal(value, first[name]) for name, value in weights(0).items())
    assert any(not torch.equal(value, first[name]) for name, value in weights(1).items())


def test_outputs_do_not_depend_on_what_ran_before(bundled, architectures, pixels, supernets, random_stats):
    net = supernets(bundled)
    drawn = architectures(bundled, 10, seed=3)
    x = pixels(drawn[0], 4)
    state = copy.deepcopy(net.state_dict())
    assert not list(net.buffers())
    with torch.no_grad():
        separate = [(net(x, a), net(x, a, random_stats(a))) for a in drawn]
        for architecture, (training, evaluating) in reversed(list(zip(drawn, separate, strict=True))):
            assert all(map(torch.equal, net(x, architecture, random_stats(architecture)), evaluating))
            assert all(map(torch.equal, net(x, architecture), training))
        net.recalibrate(drawn[0], [x])
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_forward_changes_no_statistics(digits, architectures, pixels, supernets, random_stats):
    architecture = architectures(digits, 1)[0]
    stats = random_stats(architecture)
    before = {name: value.clone() for name, value in stats.items()}
    supernets(digits)(pixels(architecture, 4), architecture, stats)
    network = supernets(digits).extract(architecture, stats)
    network.train()(pixels(architecture, 4))  # an extracted network has its own
    assert all(torch.equal(value, before[name]) for name, value in stats.items())


def test_threads_do_not_interfere(digits, architectures, pixels, supernets, random_stats):
    architecture = architectures(digits, 1)[0]
    xs = [pixels(architecture, 8, seed) for seed in range(2)]
    stats = [random_stats(architecture, seed) for seed in range(2)]
    net = supernets(digits)
    with torch.no_grad():
        expected = [net(x, architecture, s) for x, s in zip(xs, stats, strict=True)]
    problems = []

    def work(index):
        with torch.no_grad():
            for _ in range(40):
                try:
                    if difference(net(xs[index], architecture, stats[index]), expected[index]) > CLOSE:
                        problems.append("other outputs")
                except RuntimeError as error:
                    problems.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_training_mode_uses_the_batchs_own_statistics(bundled, architectures, pixels, supernets, random_stats):
    net = supernets(bundled)
    for architecture in architectures(bundled, 10):
        x = pixels(architecture, 8)
        network = net.extract(architecture, random_stats(architecture)).train()
        with torch.no_grad():
            assert difference(net(x, architecture), network(x)) <= CLOSE


def flops(net, x, architectures):
    """FLOP of the convolutions and linear layers in one `forward_many`, as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.forward_many(x, architectures)
    return counter.get_total_flops()


def test_forward_many_equals_separate_forwards(bundled, architectures, pixels, supernets):
    net = supernets(bundled)
    drawn = architectures(bundled, 8)
    x = pixels(drawn[0], 4)
    with torch.no_grad():
        for together, architecture in zip(net.forward_many(x, drawn), drawn, strict=True):
            assert difference(together, net(x, architecture)) <= CLOSE


def test_forward_many_runs_a_shared_backbone_once(bundled, pixels, supernets, rng):
    net = supernets(bundled)
    backbone = bundled.extreme(True)
    plain = backbone.model_copy(update={"exits": ()})
    x = pixels(backbone, 2)
    assert flops(net, x, [plain, backbone]) == flops(net, x, [backbone]) > flops(net, x, [plain])
    drawn = [bundled.sample_branches(backbone, rng) for _ in range(3)]
    separate = [flops(net, x, [architecture]) for architecture in drawn]
    # less where two have the same branch
    assert max(separate) <= flops(net, x, drawn) <= sum(separate) - 2 * flops(net, x, [plain])
    assert flops(net, x, [drawn[0], drawn[0]]) == separate[0]  # equal architectures cost nothing more


def test_forward_many_does_not_share_different_nodes(digits, pixels, supernets):
    net = supernets(digits)
    small, large = digits.extreme(False), digits.extreme(True)
    x = pixels(small, 2)
    places = math.prod(small.image_shape[1:])
    stem = 2 * 2 * 9 * small.stem.width * places  # of two images in 3x3 convolutions, two FLOP a MAC
    assert small.stem == large.stem
    assert flops(net, x, [small, large]) == flops(net, x, [small]) + flops(net, x, [large]) - stem


def test_statistics_belong_to_one_architecture(digits, architectures, pixels, supernets, random_stats):
    first, second = architectures(digits, 2)
    net, stats = supernets(digits), random_stats(first)
    with pytest.raises(ValueError, match="must be given for one architecture only, but got 2"):
        net.forward_many(pixels(first, 2), [first, second], stats)
    with pytest.raises(ValueError, match="norm_stats must be of this architecture, but got those of another"):
        net.extract(digits.extreme(True), random_stats(digits.extreme(False)))


def test_gradients_reach_only_the_slices_used(bundled, architectures, pixels, supernets):
    net = supernets(bundled)
    for architecture in architectures(bundled, 5):
        net.zero_grad()
        sum(logits.square().sum() for logits in net(pixels(architecture, 8), architecture)).backward()
        used = {name: tuple(parameter.shape) for name, parameter in parameters_of(Network(lower(architecture)))}
        for name, parameter in net.shared.items():
            if name not in used:
                assert parameter.grad is None
                continue
            outside = parameter.grad.clone()
            inside = slice_to(outside, used[name])
            assert inside.abs().sum() > 0
            inside.zero_()
            assert not outside.any()


def test_recalibrate_gives_the_mean_of_the_batches_statistics(digits, architectures, pixels, supernets):
    net = supernets(digits)
    architecture = next(a for a in architectures(digits, 50) if a.exits)
    batches = [pixels(architecture, 16, seed) * (seed + 1) for seed in range(3)]
    stats = net.recalibrate(architecture, batches)
    weight = net.shared["stem/conv/0/weight"]
    with torch.no_grad():
        maps = [torch.conv2d(x, slice_to(weight, (architecture.stem.width, 1, 3, 3)), padding=1) for x in batches]
    means = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    variances = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    assert torch.allclose(stats["nodes.stem.conv.1.running_mean"], means, atol=1e-5)
    assert torch.allclose(stats["nodes.stem.conv.1.running_var"], variances, rtol=1e-4)
    normed = batch_norm(maps[0], means, variances)
    assert normed.std().item() < 1.0  # the batch of smallest variance, normalised by the statistics of all


def test_recalibrated_on_one_batch_equals_training_mode(bundled, architectures, pixels, supernets):
    net = supernets(bundled)
    [architecture] = architectures(bundled, 1)
    x = pixels(architecture, 128)
    with torch.no_grad():
        calibrated = net(x, architecture, net.recalibrate(architecture, [x]))
        assert difference(calibrated, net(x, architecture)) < 0.05  # unbiased against biased variance


def test_extract_copies(digits, architectures, pixels, supernets, random_stats):
    architecture = architectures(digits, 1)[0]
    net, x = supernets(digits), pixels(architecture, 2)
    stats = random_stats(architecture)
    before = net(x, architecture, stats)
    network = net.extract(architecture, stats)
    assert not network.training
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(map(torch.equal, net(x, architecture, stats), before))
