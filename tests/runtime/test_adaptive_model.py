"""A running network that adapts: predictions as without adaptation, audits as labels, and a state that is stored."""

import pytest
import torch

from aebnas.runtime.adaptation import AdaptivePolicy
from aebnas.runtime.adaptive_model import Adaptive
from aebnas.runtime.exit_policy import ExitPolicy


@pytest.fixture
def two_exits(digits, architectures, random_network):
    architecture = next(a for a in architectures(digits, 100) if len(a.exits) == 1)
    return architecture, random_network(architecture)


def policy_at_the_middle(network, x_nchw):
    with torch.no_grad():
        confidence_n = network(x_nchw)[0].softmax(-1).amax(-1)
    return ExitPolicy("confidence", (confidence_n.median().item() + 1e-4,))


def test_without_audits_predictions_are_those_of_the_network(two_exits, pixels):
    architecture, network = two_exits
    x_nchw = pixels(architecture, 25)
    base = policy_at_the_middle(network, x_nchw)
    adaptive = Adaptive(network, AdaptivePolicy(base, 10, every=10, audit_share=0.0), (0.4, 1.0), 0.9)
    got, want = adaptive.infer(x_nchw), network.infer(x_nchw, base)
    assert got.exit_index.tolist() == want.exit_index.tolist()
    assert torch.allclose(got.logits, want.logits, atol=1e-5)
    assert adaptive.state.seen == 25
    assert adaptive.infer(x_nchw[:0]).logits.shape == (0, 10)


def test_audits_label_samples_by_the_last_exit_and_are_charged(two_exits, pixels):
    architecture, network = two_exits
    x_nchw = pixels(architecture, 30)
    base = policy_at_the_middle(network, x_nchw)
    adaptive = Adaptive(network, AdaptivePolicy(base, 10, every=50, window=50, audit_share=1.0), (0.25, 1.0), 0.5)
    predicted = adaptive.infer(x_nchw)
    cells = adaptive.state.cells
    assert int((cells.right_cw >= 0).sum()) == 30
    with torch.no_grad():
        agrees = predicted.logits.argmax(-1) == network(x_nchw)[-1].argmax(-1)
    assert int((cells.right_cw == 1).sum()) == int(agrees.sum())
    early = int((predicted.exit_index == 0).sum())
    assert cells.cost_cw.sum().item() == pytest.approx(early * 0.75 + (30 - early) * 1.5)


def test_feedback_replaces_audits_and_changes_thresholds(two_exits, pixels):
    architecture, network = two_exits
    x_nchw = pixels(architecture, 40)
    leave_at_once = ExitPolicy("confidence", (0.0,))
    adaptive = Adaptive(network, AdaptivePolicy(leave_at_once, 10, every=20, window=20), (0.25, 1.0), 0.5)
    wrong_n = (network(x_nchw)[0].argmax(-1) + 1) % 10
    adaptive.infer(x_nchw, label_n=wrong_n)
    assert adaptive.state.coefficients_ek.min() > 1.0


def test_adaptation_continues_from_a_stored_state(two_exits, pixels):
    architecture, network = two_exits
    x_nchw = pixels(architecture, 60)
    policy = AdaptivePolicy(policy_at_the_middle(network, x_nchw), 10, every=20, window=20, audit_share=0.3)
    whole, first, second = (Adaptive(network, policy, (0.25, 1.0), 0.5) for _ in range(3))
    whole.infer(x_nchw)
    first.infer(x_nchw[:30])
    second.state = first.state
    second.infer(x_nchw[30:])
    assert torch.equal(second.state.coefficients_ek, whole.state.coefficients_ek)
    assert second.state.seen == whole.state.seen == 60
