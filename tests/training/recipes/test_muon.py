import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from aebnas.training.recipes.muon import Muon, orthogonalised


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 24), st.integers(2, 24), st.integers(0, 10**6))
def test_directions_stay_and_lengths_become_about_one(batch, rows, columns, seed):
    """Against the singular value decomposition: U and V stay, singular values that aren't tiny go to [0.6, 1.25]."""
    generator = torch.Generator().manual_seed(seed)
    matrices = torch.randn(batch, rows, columns, generator=generator)
    for matrix, found in zip(matrices, orthogonalised(matrices), strict=True):
        u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
        inside = u.T @ found @ vt.T
        kept = values > 0.05 * values.max()
        lengths = inside.diagonal()[kept]
        assert ((lengths > 0.55) & (lengths < 1.3)).all()
        assert (inside - inside.diagonal().diag()).abs().max() < 1e-3


def plain_step(bank, grad, buffer, lr, momentum):
    """One step written out for a single filter bank, orthogonalised by the singular value decomposition."""
    buffer = momentum * buffer + grad
    u, _, vt = torch.linalg.svd((grad + momentum * buffer).flatten(1), full_matrices=False)
    bank = bank * len(bank) ** 0.5 / bank.norm()
    return bank - lr * (u @ vt).view(bank.shape), buffer


def test_steps_against_plain_ones():
    torch.manual_seed(0)
    banks = [nn.Parameter(torch.randn(shape)) for shape in [(8, 4, 3, 3), (8, 4, 3, 3), (6, 12, 1, 1)]]
    expected, buffers = [b.detach().clone() for b in banks], [torch.zeros_like(b) for b in banks]
    optimiser = Muon(banks, lr=0.1, momentum=0.6)
    for _ in range(3):
        for index, bank in enumerate(banks):
            bank.grad = torch.randn(bank.shape)
            expected[index], buffers[index] = plain_step(expected[index], bank.grad, buffers[index], 0.1, 0.6)
        optimiser.step()
    for bank, wanted in zip(banks, expected, strict=True):
        # the iteration leaves singular values between 0.7 and 1.2, so each step is up to 30 % longer or shorter
        assert (bank - wanted).norm() < 0.35 * 3 * 0.1 * min(bank.flatten(1).shape) ** 0.5
        assert torch.nn.functional.cosine_similarity(bank.flatten(), wanted.flatten(), dim=0) > 0.98


def test_the_size_of_gradients_and_weights_has_no_effect():
    torch.manual_seed(0)
    first = nn.Parameter(torch.randn(6, 3, 3, 3))
    grad = torch.randn_like(first)
    moved = []
    for scale in (1.0, 1e-4, 1e4):
        bank = nn.Parameter(first.detach() * scale)
        bank.grad = grad * scale
        Muon([bank], lr=0.2, momentum=0.0).step()
        moved.append(bank.detach())
    torch.testing.assert_close(moved[1], moved[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved[2], moved[0], rtol=1e-3, atol=1e-3)


def test_banks_without_a_gradient_stay_and_its_state_goes_on():
    torch.manual_seed(0)
    banks = [nn.Parameter(torch.randn(4, 2, 3, 3)) for _ in range(2)]
    optimiser = Muon(banks, lr=0.1, momentum=0.9)
    banks[0].grad = torch.randn_like(banks[0])
    before = banks[1].detach().clone()
    optimiser.step()
    assert torch.equal(banks[1], before)
    copies = copy.deepcopy(banks)
    resumed = Muon(copies, lr=0.1, momentum=0.9)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for pair in zip(banks, copies, strict=True):
        grad = torch.randn_like(pair[0])
        for bank in pair:
            bank.grad = grad.clone()
    optimiser.step()
    resumed.step()
    assert all(map(torch.equal, banks, copies))


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="must have two or more dimensions, but got 1"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1, momentum=0.5)
