import pytest
import torch
from torch import nn

from aebnas.runtime.network import Network
from aebnas.space.lowering import lower
from aebnas.supernet.supernet import Supernet
from aebnas.training.recipes.initial_weights import make_identities, set_initial_weights, whiten
from aebnas.training.training_spec import TrainSpec


def images(n=64, channels=3, side=12):
    """Smooth random images, whose neighbouring pixels are correlated."""
    torch.manual_seed(0)
    return nn.functional.avg_pool2d(torch.randn(n, channels, side + 2, side + 2), 3, stride=1) * 3


def test_whitening_makes_responses_uncorrelated_with_variance_one():
    filters, x_nchw = torch.zeros(8, 3, 3, 3), images()
    whiten(filters, [x_nchw[:32], x_nchw[32:]])
    responses = nn.functional.conv2d(x_nchw, filters).permute(1, 0, 2, 3).flatten(1)
    second_moments = responses @ responses.T / responses.shape[1]
    torch.testing.assert_close(second_moments[::2, ::2], torch.eye(4), atol=0.05, rtol=0.05)
    assert torch.equal(filters[1::2], -filters[::2])


def test_the_first_filters_are_those_of_the_largest_variance():
    many, few = torch.zeros(54, 3, 3, 3), torch.zeros(5, 3, 3, 3)
    whiten(many, [images()])
    few[4] = 7.0
    whiten(few, [images()])
    torch.testing.assert_close(few[:4].abs(), many[:4].abs(), atol=1e-4, rtol=1e-3)
    assert (few[4] == 7.0).all()  # an odd last one stays
    norms = many[::2].flatten(1).norm(dim=1)  # the inverse of the standard deviations
    assert (norms[1:] >= norms[:-1] * 0.99).all()


def test_identities_by_hand(two_stages):
    network = Network(lower(two_stages.extreme(largest=True)))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    make_identities(network)
    changed = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    for name, weight in network.named_parameters():
        wide = weight.ndim == 4 and 1 < weight.shape[1] <= weight.shape[0] and weight.shape[2] > 1
        assert (name in changed) == (wide and ".stem." not in name), name
        if name in changed:
            inputs, centre = weight.shape[1], weight.shape[2] // 2
            kernel = torch.zeros_like(weight[:inputs])
            kernel[range(inputs), range(inputs), centre, centre] = 1.0
            assert torch.equal(weight[:inputs], kernel)
            assert torch.equal(weight[inputs:], before[name][inputs:])


@pytest.mark.parametrize("settings", [{}, {"identity_init": True}, {"whiten": True}])
def test_a_supernet_begins_as_its_networks_do(two_stages, calibration, settings):
    """Slices of identities are identities, and the first filters of a whitened stem are pairs of directions."""
    spec = TrainSpec(**({"epochs": 1, "identity_init": False, "whiten": False} | settings))
    supernet = Supernet(two_stages.spec, torch.Generator().manual_seed(0))
    before = {name: p.detach().clone() for name, p in supernet.named_parameters()}
    set_initial_weights(supernet, spec, calibration)
    changed = {name for name, p in supernet.named_parameters() if not torch.equal(p, before[name])}
    assert bool(changed) == bool(settings)
    if "whiten" in settings:
        assert changed == {"shared.stem/conv/0/weight"}
    if "identity_init" in settings:
        smallest = supernet.extract(
            two_stages.extreme(largest=False), supernet.recalibrate(two_stages.extreme(largest=False), calibration)
        )
        for name, weight in smallest.named_parameters():
            if weight.ndim == 4 and 1 < weight.shape[1] <= weight.shape[0] and weight.shape[2] > 1:
                assert weight[0, 0, weight.shape[2] // 2, weight.shape[3] // 2] == 1.0, name
