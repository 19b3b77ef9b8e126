"""No batch norm keeps its initial statistics, whatever candidates the images select."""

import pytest
import torch

from aebnas.runtime.choice import Choice
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.darts.discretization import adaptive_architecture, extract
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.training.norm_statistics import norms_in
from aebnas.training.single_network import with_norm_stats
from aebnas.training.stages import fit_network
from aebnas.training.training_spec import TrainSpec

SPACE = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 10,
    "stem": {"width": 4},
    "backbone": "dag",
    "dag": {"nodes": 2, "ops": ["zero", "identity", "conv", "sepconv"], "stacks": [{"width": 4}, {"width": 6}]},
    "exits": {"at": "every_node", "depth": [0, 1]},
}
CHOSEN = 2
"""The candidate that every image chooses."""


@pytest.fixture
def adaptive():
    """An adaptive network that keeps every candidate, of which its images all choose one, and its architecture."""
    relaxed = RelaxedNetwork(SpaceSpec.model_validate(SPACE), 2, True, torch.Generator().manual_seed(1))
    with torch.no_grad():
        relaxed.alpha_gk[:, CHOSEN] = 5.0
    shares_gk = torch.full(relaxed.alpha_gk.shape, 0.25)
    architecture = adaptive_architecture(relaxed, shares_gk, 0.0)
    return extract(relaxed, architecture), architecture


def initial(network):
    """Names of norms whose statistics were not estimated."""
    return [
        name
        for name, norm in network.named_modules()
        if isinstance(norm, torch.nn.BatchNorm2d)
        and (not norm.num_batches_tracked or not norm.running_mean.any() or (norm.running_var == 1).all())
    ]


def test_candidates_that_no_image_selects_have_the_statistics_of_all_images_at_their_edge(adaptive, calibration):
    network = with_norm_stats(adaptive[0], calibration)
    choices = {name: module for name, module in network.named_modules() if isinstance(module, Choice)}
    assert len(choices) == 6 and all(len(choice.ops) == 4 for choice in choices.values())
    assert initial(network) == [] and not any(module.training for module in network.modules())
    reached = {}
    for name, choice in choices.items():
        choice.register_forward_pre_hook(lambda module, inputs, name=name: reached.__setitem__(name, inputs[0]))
    means = {name: [] for name in choices}
    for x_nchw in calibration:
        for name, chosen_n in network.outputs(x_nchw).chosen.items():
            assert (chosen_n == CHOSEN).all(), name
        for name, choice in choices.items():
            means[name].append(before_first_norm(choice.ops[3], reached[name]).mean((0, 2, 3)))
    for name, choice in choices.items():
        norm = next(norms_in(choice.ops[3]))
        torch.testing.assert_close(norm.running_mean, torch.stack(means[name]).mean(0), rtol=1e-4, atol=1e-5)


def before_first_norm(op, x_nchw):
    """The input of the first norm of an op."""
    seen = []
    hook = next(norms_in(op)).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    op(x_nchw)
    hook.remove()
    return seen[0].detach()


def test_candidates_that_no_image_selects_do_not_change_the_logits(adaptive, calibration):
    network = with_norm_stats(adaptive[0], calibration)
    expected = network(calibration[0])
    for module in network.modules():
        if isinstance(module, Choice):
            for norm in norms_in(module.ops[3]):
                norm.running_mean.fill_(7.0)
    for logits_nc, expected_nc in zip(network(calibration[0]), expected, strict=True):
        assert torch.equal(logits_nc, expected_nc)


@pytest.mark.parametrize("exits", [{}, {"frozen_backbone": 0.5}, {"blended": True}])
def test_a_trained_adaptive_network_has_no_initial_statistics(adaptive, batches, some_digits, calibration, exits):
    network, architecture = adaptive
    spec = TrainSpec(epochs=2, batch_size=64, precision="fp32", recipe="classic", lr=8.8, exits=exits)
    trained = fit_network(
        network, architecture, spec, batches, 1, "test", None, some_digits[1], calibration, calibration
    )
    assert initial(trained) == []


def test_without_images_statistics_are_the_initial_ones(adaptive):
    network = with_norm_stats(adaptive[0], [])
    assert all(not norm.running_mean.any() and (norm.running_var == 1).all() for norm in norms_in(network))
