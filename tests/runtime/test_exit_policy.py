"""The policy's decision."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_criteria import CRITERIA, LEARNED, SINGLE_SAMPLE_SCORES
from aebnas.runtime.exit_policy import ExitObservation, ExitPolicy


def stops(policy, exit_index, logits_nc, **more):
    """Which samples leave at an exit that is the first to run."""
    return policy.stops(exit_index, policy.observe(exit_index, logits_nc, **more))[0]


def test_a_sample_leaves_above_the_threshold_and_not_at_it():
    half = torch.tensor([[0.0, 0.0], [1.0, 0.0]])  # confidences 0.5 and 0.73
    policy = ExitPolicy("confidence", (0.5, None))
    assert stops(policy, 0, half).tolist() == [False, True]
    assert stops(policy, 1, half).tolist() == [False, False]
    assert stops(policy, 2, half).tolist() == [True, True]
    assert [policy.runs(index) for index in range(3)] == [True, False, True]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_saturated_softmax_does_not_leave_at_never_nor_at_one(criterion):
    certain = torch.tensor([[500.0, 0.0]])
    assert CRITERIA[criterion](certain).item() == 1.0
    for threshold in (None, 1.0):
        assert not stops(ExitPolicy(criterion, (threshold,)), 0, certain).any()
    assert stops(ExitPolicy(criterion, (0.999,)), 0, certain).all()


def test_temperatures_scale_logits_before_the_criterion():
    logits_nc = torch.tensor([[2.0, 0.0]])  # 0.88, at temperature 2 0.73
    assert stops(ExitPolicy("confidence", (0.8,)), 0, logits_nc).item()
    assert not stops(ExitPolicy("confidence", (0.8,), temperatures=(2.0, 1.0)), 0, logits_nc).item()
    assert stops(ExitPolicy("confidence", (0.7,), temperatures=(2.0, 1.0)), 0, logits_nc).item()


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=12),
    st.sampled_from(sorted(CRITERIA)),
    st.sampled_from([(), (1.7,)]),
    st.integers(-2, 2),
)
def test_one_sample_by_itself_leaves_as_it_does_in_a_batch(logits, criterion, temperatures, steps):
    logits_1c = torch.tensor([logits])
    temperatures = temperatures and (*temperatures, 1.0)
    score = ExitPolicy(criterion, (0.5,), temperatures=temperatures).observe(0, logits_1c).score_n.item()
    for _ in range(abs(steps)):  # thresholds at the score and next to it, as 64-bit floats
        score = math.nextafter(score, math.inf if steps > 0 else -math.inf)
    policy = ExitPolicy(criterion, (min(max(score, 0.0), 1.0),), temperatures=temperatures)
    assert policy.by_score
    assert policy.stops_one(0, logits_1c) == stops(policy, 0, logits_1c).item()
    if criterion in SINGLE_SAMPLE_SCORES and not temperatures:
        assert SINGLE_SAMPLE_SCORES[criterion](logits_1c) == CRITERIA[criterion](logits_1c).item()


def test_one_sample_by_its_stop_head_and_one_whose_logits_are_no_numbers():
    sure, policy = torch.tensor([[3.0, 0.0]]), ExitPolicy(LEARNED, (0.5,))
    assert [policy.stops_one(0, sure, torch.tensor([value])) for value in (-1.0, 0.0, 1.0)] == [False, False, True]
    with pytest.raises(ValueError, match="stop heads, but the network has none"):
        policy.stops_one(0, sure)
    for criterion in CRITERIA:
        assert not ExitPolicy(criterion, (0.0,)).stops_one(0, torch.tensor([[math.nan, 0.0, 1.0]]))


def test_classes_are_looked_at_by_rules_that_name_them_alone():
    plain, patient = ExitPolicy("margin", (0.5,)), ExitPolicy("margin", (0.5,), patience=2)
    assert (plain.needs_classes, patient.needs_classes) == (False, True)
    assert (plain.by_score, patient.by_score) == (True, False)
    said = plain.observe(0, torch.zeros(2, 3))
    assert said.class_n is None
    with pytest.raises(ValueError, match="needs the predicted classes, but got none"):
        patient.stops(0, said)


def test_learned_halting_and_the_dual_rule():
    sure, stop_logit_n = torch.tensor([[3.0, 0.0]] * 3 + [[0.1, 0.0]]), torch.tensor([0.0, 2.0, -2.0, 2.0])
    # sigma: 0.5, 0.88, 0.12, 0.88; confidence 0.95 three times, then 0.52
    learned = ExitPolicy(LEARNED, (0.5,))
    assert stops(learned, 0, sure, stop_logit_n=stop_logit_n).tolist() == [False, True, False, True]
    dual = ExitPolicy("confidence", (0.9,), stop_thresholds=(0.4,))
    assert stops(dual, 0, sure, stop_logit_n=stop_logit_n).tolist() == [True, True, False, False]
    for policy in (learned, dual):
        with pytest.raises(ValueError, match="stop heads, but the network has none"):
            stops(policy, 0, sure)


def test_patience_counts_exits_in_a_row_that_agree():
    policy = ExitPolicy("confidence", (0.0, 0.0, None, 0.0), patience=3)
    answers = [[0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 1, 1]]  # by exit, of three samples; exit 2 never runs
    streak, left = None, []
    for index in (0, 1, 3):
        logits_nc = torch.nn.functional.one_hot(torch.tensor(answers[index]), 2).float()
        stop_n, streak = policy.stops(index, policy.observe(index, logits_nc), streak)
        left.append(stop_n.tolist())
    assert left == [[False] * 3, [False] * 3, [True, False, False]]
    assert streak.length_n.tolist() == [3, 2, 1]


def test_minimum_depth_also_by_class():
    logits_nc = torch.eye(3) * 9
    deep = ExitPolicy("confidence", (0.5, 0.5), min_exit=1)
    assert [deep.runs(index) for index in range(3)] == [False, True, True]
    by_class = ExitPolicy("confidence", (0.5, 0.5, 0.5), min_exit_by_class=(1, 2, 3))
    assert [by_class.runs(index) for index in range(4)] == [False, True, True, True]
    assert [stops(by_class, index, logits_nc).tolist() for index in (1, 2)] == [
        [True, False, False],
        [True, True, False],
    ]


DIFFICULTY = Difficulty(0.1, (1.0, 1.0, 1.0))


def test_equation_19_raises_thresholds_for_hard_images_and_clamps():
    logits_nc = torch.tensor([[0.0, 0.0]] * 4)
    said = ExitObservation(
        torch.tensor([0.70, 0.70, 0.9, 1.0]), logits_nc.argmax(-1), None, torch.tensor([0.0, 0.5, 0.5, 1.0])
    )
    # 1.2 * 0.5 + 0.3 * alpha: 0.6, 0.75, 0.75, 0.9
    policy = ExitPolicy("confidence", (0.5,), coefficients=((1.2,),), difficulty=DIFFICULTY, beta_diff=0.3)
    assert policy.stops(0, said)[0].tolist() == [True, False, True, True]
    steep = ExitPolicy("confidence", (0.9,), difficulty=DIFFICULTY, beta_diff=0.3)
    assert policy.stops(0, said)[1] is None
    assert steep.stops(0, said)[0].tolist() == [False, False, False, False]  # the last: clamped to 1, and not above


def test_coefficients_go_by_predicted_class():
    said = ExitObservation(torch.tensor([0.6, 0.6]), torch.tensor([0, 1]))
    policy = ExitPolicy("confidence", (0.5,), coefficients=((1.0, 1.3),))
    assert policy.stops(0, said)[0].tolist() == [True, False]


def test_thresholds_by_difficulty_bin_may_be_never():
    said = ExitObservation(
        torch.tensor([0.6] * 3), torch.zeros(3, dtype=torch.int64), None, torch.tensor([0.1, 0.3, 0.9])
    )
    policy = ExitPolicy(
        "confidence",
        (0.5,),
        difficulty=DIFFICULTY,
        difficulty_edges=(0.3, 0.5),
        binned_thresholds=((0.5, 0.7, None),),
        coefficients=((0.3,),),
    )
    assert policy.stops(0, said)[0].tolist() == [True, True, False]  # 0.15, 0.15 (at the edge), never
    with pytest.raises(ValueError, match="images' difficulty, but got none"):
        policy.stops(0, said._replace(alpha_n=None))


@pytest.mark.parametrize(
    "criterion, thresholds, problem",
    [
        ("certainty", (), "criterion must be one of confidence, entropy, margin, learned, but got 'certainty'"),
        ("margin", (0.5, 1.5), r"exit 2 must lie in \[0, 1\] or be never, but got 1.5"),
        ("margin", (-0.1,), "exit 1 must lie"),
        ("margin", (float("nan"),), "exit 1 must lie"),
    ],
)
def test_refuses_nonsense(criterion, thresholds, problem):
    with pytest.raises(ValueError, match=problem):
        ExitPolicy(criterion, thresholds)


@pytest.mark.parametrize(
    "settings, problem",
    [
        ({"patience": 0}, "patience must be at least 1"),
        ({"min_exit": -1}, "min_exit must be at least 0"),
        ({"stop_thresholds": (0.5,)}, "stop_thresholds must be 2"),
        ({"temperatures": (1.0, 1.0)}, "temperatures must be 3"),
        ({"temperatures": (1.0, 0.0, 1.0)}, "temperatures must be 3"),
        ({"coefficients": ((), ())}, "coefficients must be 2"),
        ({"beta_diff": 0.3}, "need a difficulty"),
        ({"beta_diff": 1.3, "difficulty": DIFFICULTY}, "beta_diff must lie in"),
        ({"binned_thresholds": ((0.1, 0.2), (0.1,)), "difficulty_edges": (0.5,)}, "binned_thresholds must be 2"),
        ({"difficulty": DIFFICULTY, "difficulty_edges": (0.5, 0.5)}, "difficulty_edges must rise"),
    ],
)
def test_refuses_additions_that_cannot_be(settings, problem):
    with pytest.raises(ValueError, match=problem):
        ExitPolicy("margin", (0.5, None), **settings)


def test_json_round_trip_of_a_policy_with_everything():
    policy = ExitPolicy(
        "confidence",
        (0.1, None),
        patience=2,
        stop_thresholds=(0.2, 0.3),
        min_exit=1,
        min_exit_by_class=(0, 1),
        temperatures=(1.0, 1.5, 2.0),
        coefficients=((1.0, 1.1), (0.9,)),
        difficulty=DIFFICULTY,
        beta_diff=0.3,
        difficulty_edges=(0.5,),
        binned_thresholds=((0.1, None), (None, None)),
    )
    assert ExitPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    assert not policy.plain


def test_json_round_trip():
    policy = ExitPolicy("entropy", (0.1, None, 1.0))
    assert ExitPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    assert json.dumps(policy.to_json()) == '{"criterion": "entropy", "thresholds": [0.1, null, 1.0]}'  # ids hash this
    assert policy.plain


def test_a_rule_says_what_else_must_hold():
    plain = ExitPolicy("margin", (0.5, None))
    assert plain.rule == "margin"
    rich = ExitPolicy("confidence", (0.5, None), patience=2, stop_thresholds=(0.1, 0.1), min_exit=1)
    assert rich.rule == "confidence + 2 agree + stop > 0.1 + minimum depth"
