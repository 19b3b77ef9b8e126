"""Online adaptation: updates and UCB1 against numbers worked out by hand, bounded state, and pseudo-labels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.runtime.adaptation import (
    UNKNOWN,
    AdaptivePolicy,
    Observation,
    adapt,
    current_policy,
    initial_state,
    ucb1,
    until_update,
)
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.threshold_rules import Coefficients

BASE = ExitPolicy("confidence", (0.8,))


def adaptive(**settings):
    return AdaptivePolicy(**({"base": BASE, "classes": 2, "every": 4, "window": 8} | settings))


def observed(exits, classes, labels, cost=0.5):
    count = len(exits)
    return Observation(torch.tensor(exits), torch.tensor(classes), torch.full((count,), cost), torch.tensor(labels))


def test_coefficient_updates_by_hand():
    policy = adaptive()
    before = initial_state(policy)
    assert before.coefficients_ek.tolist() == [[1.0, 1.0]]
    # class 0: right, wrong; class 1: right, unknown
    after = adapt(policy, before, observed([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, UNKNOWN]))
    temporal = 0.95 + 0.05 * (1 + 0.85 - 2 / 3)
    expected = [temporal + 0.01 * (0.85 - 0.5), temporal + 0.01 * (0.85 - 1.0)]
    assert after.coefficients_ek[0].tolist() == pytest.approx(expected)
    assert current_policy(policy, after).find(Coefficients).factors[0] == pytest.approx(expected)
    assert current_policy(policy, after).thresholds == BASE.thresholds
    assert before.coefficients_ek.tolist() == [[1.0, 1.0]] and before.seen == 0  # not changed


def test_temporal_and_class_aware_updates_can_be_turned_off_separately_and_f_is_clipped():
    wrong = observed([0] * 4, [0, 0, 1, 1], [1, 1, 0, 0])
    temporal, by_class = adaptive(eta=0.0), adaptive(decay=1.0)
    # 1 + 0.85 - 0 is clipped to 1.25
    assert adapt(temporal, initial_state(temporal), wrong).coefficients_ek[0].tolist() == pytest.approx([1.0125] * 2)
    assert adapt(by_class, initial_state(by_class), wrong).coefficients_ek[0].tolist() == pytest.approx([1.0085] * 2)


def test_without_labels_coefficients_are_unchanged():
    policy = adaptive()
    state = adapt(policy, initial_state(policy), observed([0, 1] * 10, [0, 1] * 10, [UNKNOWN] * 20))
    assert state.coefficients_ek.tolist() == [[1.0, 1.0]] and state.seen == 20


def test_a_window_drops_the_oldest_samples():
    policy = adaptive(every=4, window=4, decay=1.0, eta=0.1, target=0.5)
    state = adapt(policy, initial_state(policy), observed([0] * 4, [0] * 4, [1] * 4))  # all wrong
    assert state.coefficients_ek[0].tolist() == pytest.approx([1.05, 1.0])
    state = adapt(policy, state, observed([0] * 4, [0] * 4, [0] * 4))  # all right, the wrong ones were dropped
    assert state.coefficients_ek[0].tolist() == pytest.approx([1.0, 1.0])
    assert state.cells.held_c().tolist() == [4, 0, 0, 0]


def test_coefficients_stay_within_bounds():
    policy = adaptive(eta=1.0, bounds=(0.9, 1.1))
    state = initial_state(policy)
    for _ in range(5):
        state = adapt(policy, state, observed([0] * 4, [0, 0, 1, 1], [1, 1, 1, 1]))
    assert state.coefficients_ek[0].tolist() == [1.1, 0.9]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_the_state_depends_on_samples_and_not_on_their_split_into_observations(seed, parts):
    policy = adaptive(arms=(((1.0,),), ((0.9,),)), every=5)
    generator = torch.Generator().manual_seed(seed)
    count = sum(parts)
    exits, classes = (torch.randint(0, 2, (count,), generator=generator) for _ in range(2))
    labels = torch.randint(-1, 2, (count,), generator=generator)
    whole = Observation(exits, classes, torch.rand(count, generator=generator), labels)
    at_once, split, start = adapt(policy, initial_state(policy), whole), initial_state(policy), 0
    for part in parts:
        split = adapt(policy, split, Observation(*(values[start : start + part] for values in whole)))
        start += part
    assert at_once.seen == split.seen == count and at_once.arm == split.arm
    for one, other in ((at_once.cells, split.cells), (at_once.arms, split.arms)):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(at_once.coefficients_ek, split.coefficients_ek)
    assert split.cells.right_cw.shape == (4, 8) and split.arms.right_cw.shape == (2, 8)
    assert until_update(policy, split) == 5 - count % 5


def test_ucb1_by_hand():
    means, pulls = torch.tensor([0.5, 0.4], dtype=torch.float64), torch.tensor([10, 5])
    # 0.5 + sqrt(2 ln 15 / 10) = 1.236; 0.4 + sqrt(2 ln 15 / 5) = 1.441
    assert ucb1(means, pulls) == 1
    assert 0.5 + math.sqrt(2 * math.log(15) / 10) == pytest.approx(1.2359, abs=1e-4)
    assert ucb1(torch.tensor([1.0, 0.4], dtype=torch.float64), pulls) == 0  # 1.736 against 1.441
    assert ucb1(torch.tensor([0.5, math.nan], dtype=torch.float64), pulls) == 1
    assert ucb1(torch.tensor([0.5, 0.4, 0.9], dtype=torch.float64), torch.tensor([3, 0, 0])) == 1


def test_ucb1_converges_to_the_better_set():
    """Under the second set the early exit is right in 3 of 4 cases, under the first in 1 of 4."""
    policy = adaptive(arms=(((0.6,),), ((1.0,),)), every=4, window=40, beta_opt=0.5, decay=1.0, eta=0.0)
    state = initial_state(policy)
    for _ in range(100):
        right = 3 if current_policy(policy, state).find(Coefficients).factors[0][0] == 1.0 else 1
        state = adapt(policy, state, observed([0] * 4, [0] * 4, [0] * right + [1] * (4 - right)))
    assert int(state.pulls_a.sum()) == 100 and int(state.pulls_a.min()) >= 5
    assert int(state.pulls_a.argmax()) == 1
    assert state.arms.accuracy_c().tolist() == pytest.approx([0.25, 0.75])
    assert state.arms.mean_cost_c().tolist() == pytest.approx([0.5, 0.5])


def test_audits_are_the_stated_share_without_a_period():
    policy = adaptive(audit_share=0.01)
    audited = policy.audited(0, 100_000)
    assert audited.sum().item() == pytest.approx(1000, abs=5)
    gaps = audited.nonzero().flatten().diff()
    assert len(gaps.unique()) > 1 and gaps.max() < 300
    assert torch.equal(torch.cat([policy.audited(0, 60), policy.audited(60, 40)]), policy.audited(0, 100))
    assert not adaptive(audit_share=0.0).audited(0, 1000).any()


def test_an_exits_own_predictions_as_labels_lower_thresholds_and_audits_do_not():
    """An early exit that is right in 60 % of the cases. With its own predictions as labels it seems perfect and its
    thresholds fall to the bound; with an audit of every tenth sample they rise."""
    policy = AdaptivePolicy(BASE, 2, every=100, audit_share=0.1)
    fallen = risen = initial_state(policy)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        truth = torch.randint(0, 2, (100,), generator=generator)
        predicted = torch.where(torch.rand(100, generator=generator) < 0.6, truth, 1 - truth)
        exits, cost = torch.zeros(100, dtype=torch.int64), torch.full((100,), 0.3)
        fallen = adapt(policy, fallen, Observation(exits, predicted, cost, predicted))
        audited = torch.where(policy.audited(risen.seen, 100), truth, UNKNOWN)
        risen = adapt(policy, risen, Observation(exits, predicted, cost, audited))
    assert fallen.coefficients_ek.max() < 0.85
    assert risen.coefficients_ek.min() > 1.1


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"every": 9}, r"every must lie in 1..window \(8\), but got 9"),
        ({"target": 1.5}, "target must lie in"),
        ({"audit_share": -0.1}, "audit_share must lie in"),
        ({"bounds": (1.1, 2.0)}, "bounds must be a range around 1"),
        ({"eta": -1.0}, "eta must be at least 0"),
        ({"arms": (((1.0, 1.0, 1.0),),)}, "1 or 2 factors an exit"),
        ({"arms": (((1.0,), (1.0,)),)}, "coefficients must be 1"),
    ],
)
def test_invalid_settings_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        adaptive(**settings)


@pytest.mark.parametrize("exits, classes, problem", [([2], [0], "exits must be in 0..1"), ([0], [-1], "classes must")])
def test_observations_of_another_network_are_refused(exits, classes, problem):
    policy = adaptive()
    with pytest.raises(ValueError, match=problem):
        adapt(policy, initial_state(policy), observed(exits, classes, [0]))
