"""Decisions of exit policies, their rules, JSON and descriptions."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_criteria import CRITERIA, LEARNED, SINGLE_SAMPLE_SCORES
from aebnas.runtime.exit_policy import KEYS, ExitPolicy
from aebnas.runtime.exit_rule import ExitObservation
from aebnas.runtime.gate_rules import MinExit, MinExitByClass, Patience, StopHeads
from aebnas.runtime.threshold_rules import Coefficients, DifficultyBins, DifficultyOffset


def stops(policy, exit_index, logits_nc, **more):
    """Which samples leave at an exit that is the first one to run."""
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
def test_the_decision_for_a_single_sample_is_that_for_a_batch(logits, criterion, temperatures, steps):
    logits_1c = torch.tensor([logits])
    temperatures = temperatures and (*temperatures, 1.0)
    score = ExitPolicy(criterion, (0.5,), temperatures=temperatures).observe(0, logits_1c).score_n.item()
    for _ in range(abs(steps)):  # thresholds at the score and next to it, as 64-bit floats
        score = math.nextafter(score, math.inf if steps > 0 else -math.inf)
    policy = ExitPolicy(criterion, (min(max(score, 0.0), 1.0),), temperatures=temperatures)
    assert policy.by_score
    assert policy.stops_single_sample(0, logits_1c) == stops(policy, 0, logits_1c).item()
    if criterion in SINGLE_SAMPLE_SCORES and not temperatures:
        assert SINGLE_SAMPLE_SCORES[criterion](logits_1c) == CRITERIA[criterion](logits_1c).item()


def test_single_samples_with_a_stop_head_and_with_nan_logits():
    certain, policy = torch.tensor([[3.0, 0.0]]), ExitPolicy(LEARNED, (0.5,))
    assert [policy.stops_single_sample(0, certain, torch.tensor([value])) for value in (-1.0, 0.0, 1.0)] == [
        False,
        False,
        True,
    ]
    with pytest.raises(ValueError, match="stop heads, but the network has none"):
        policy.stops_single_sample(0, certain)
    for criterion in CRITERIA:
        assert not ExitPolicy(criterion, (0.0,)).stops_single_sample(0, torch.tensor([[math.nan, 0.0, 1.0]]))


def test_only_rules_that_use_classes_require_them():
    plain, patient = ExitPolicy("margin", (0.5,)), ExitPolicy("margin", (0.5,), rules=(Patience(2),))
    assert (plain.needs_classes, patient.needs_classes) == (False, True)
    assert (plain.by_score, patient.by_score) == (True, False)
    observation = plain.observe(0, torch.zeros(2, 3))
    assert observation.class_n is None
    with pytest.raises(ValueError, match="needs the predicted classes, but got none"):
        patient.stops(0, observation)


def test_learned_halting_and_the_dual_rule():
    logits_nc, stop_logit_n = torch.tensor([[3.0, 0.0]] * 3 + [[0.1, 0.0]]), torch.tensor([0.0, 2.0, -2.0, 2.0])
    # sigma: 0.5, 0.88, 0.12, 0.88; confidence 0.95 three times, then 0.52
    learned = ExitPolicy(LEARNED, (0.5,))
    assert stops(learned, 0, logits_nc, stop_logit_n=stop_logit_n).tolist() == [False, True, False, True]
    dual = ExitPolicy("confidence", (0.9,), rules=(StopHeads((0.4,)),))
    assert stops(dual, 0, logits_nc, stop_logit_n=stop_logit_n).tolist() == [True, True, False, False]
    for policy in (learned, dual):
        with pytest.raises(ValueError, match="stop heads, but the network has none"):
            stops(policy, 0, logits_nc)


def test_patience_counts_exits_in_a_row_that_agree():
    policy = ExitPolicy("confidence", (0.0, 0.0, None, 0.0), rules=(Patience(3),))
    classes = [[0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 1, 1]]  # by exit, of three samples; exit 2 never runs
    streak, left = None, []
    for index in (0, 1, 3):
        logits_nc = torch.nn.functional.one_hot(torch.tensor(classes[index]), 2).float()
        stop_n, streak = policy.stops(index, policy.observe(index, logits_nc), streak)
        left.append(stop_n.tolist())
    assert left == [[False] * 3, [False] * 3, [True, False, False]]
    assert streak.length_n.tolist() == [3, 2, 1]


def test_minimum_depth_also_by_class():
    logits_nc = torch.eye(3) * 9
    deep = ExitPolicy("confidence", (0.5, 0.5), rules=(MinExit(1),))
    assert [deep.runs(index) for index in range(3)] == [False, True, True]
    by_class = ExitPolicy("confidence", (0.5, 0.5, 0.5), rules=(MinExitByClass((1, 2, 3)),))
    assert [by_class.runs(index) for index in range(4)] == [False, True, True, True]
    assert [stops(by_class, index, logits_nc).tolist() for index in (1, 2)] == [
        [True, False, False],
        [True, True, False],
    ]


DIFFICULTY = Difficulty(0.1, (1.0, 1.0, 1.0))


def test_equation_19_raises_thresholds_for_hard_images_and_clamps():
    logits_nc = torch.tensor([[0.0, 0.0]] * 4)
    observation = ExitObservation(
        torch.tensor([0.70, 0.70, 0.9, 1.0]), logits_nc.argmax(-1), None, torch.tensor([0.0, 0.5, 0.5, 1.0])
    )
    # 1.2 * 0.5 + 0.3 * alpha: 0.6, 0.75, 0.75, 0.9
    policy = ExitPolicy("confidence", (0.5,), rules=(DifficultyOffset(DIFFICULTY, 0.3), Coefficients(((1.2,),))))
    assert policy.stops(0, observation)[0].tolist() == [True, False, True, True]
    steep = ExitPolicy("confidence", (0.9,), rules=(DifficultyOffset(DIFFICULTY, 0.3),))
    assert policy.stops(0, observation)[1] is None
    assert steep.stops(0, observation)[0].tolist() == [
        False,
        False,
        False,
        False,
    ]  # the last: clamped to 1, which the score doesn't exceed


def test_coefficients_depend_on_the_predicted_class():
    observation = ExitObservation(torch.tensor([0.6, 0.6]), torch.tensor([0, 1]))
    policy = ExitPolicy("confidence", (0.5,), rules=(Coefficients(((1.0, 1.3),)),))
    assert policy.stops(0, observation)[0].tolist() == [True, False]


def test_thresholds_by_difficulty_bin_may_be_never():
    observation = ExitObservation(
        torch.tensor([0.6] * 3), torch.zeros(3, dtype=torch.int64), None, torch.tensor([0.1, 0.3, 0.9])
    )
    bins = DifficultyBins(DIFFICULTY, (0.3, 0.5), ((0.5, 0.7, None),))
    policy = ExitPolicy("confidence", (0.5,), rules=(bins, Coefficients(((0.3,),))))
    assert policy.stops(0, observation)[0].tolist() == [True, True, False]  # 0.15, 0.15 (at the edge), never
    with pytest.raises(ValueError, match="images' difficulty, but got none"):
        policy.stops(0, observation._replace(alpha_n=None))


@pytest.mark.parametrize(
    "criterion, thresholds, problem",
    [
        ("certainty", (), "criterion must be one of confidence, entropy, margin, learned, but got 'certainty'"),
        ("margin", (0.5, 1.5), r"exit 2 must lie in \[0, 1\] or be never, but got 1.5"),
        ("margin", (-0.1,), "exit 1 must lie"),
        ("margin", (float("nan"),), "exit 1 must lie"),
    ],
)
def test_invalid_criteria_and_thresholds_are_refused(criterion, thresholds, problem):
    with pytest.raises(ValueError, match=problem):
        ExitPolicy(criterion, thresholds)


@pytest.mark.parametrize(
    "make, problem",
    [
        (lambda: Patience(0), "patience must be at least 1"),
        (lambda: MinExit(-1), "min_exit must be at least 0"),
        (lambda: MinExitByClass((0, -1)), "min_exit_by_class must be exits of at least 0"),
        (lambda: StopHeads((0.5,)), "stop_thresholds must be 2"),
        (lambda: Coefficients(((), ())), "coefficients must be 2"),
        (lambda: DifficultyOffset(DIFFICULTY, 1.3), "beta_diff must lie in"),
        (lambda: DifficultyBins(DIFFICULTY, (0.5,), ((0.1, 0.2), (0.1,))), "binned_thresholds must be 2"),
        (lambda: DifficultyBins(DIFFICULTY, (0.5, 0.5), ()), "difficulty_edges must be ascending"),
    ],
)
def test_invalid_rules_are_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        ExitPolicy("margin", (0.5, None), rules=(make(),))


@pytest.mark.parametrize("temperatures", [(1.0, 1.0), (1.0, 0.0, 1.0)])
def test_invalid_temperatures_are_refused(temperatures):
    with pytest.raises(ValueError, match="temperatures must be 3"):
        ExitPolicy("margin", (0.5, None), temperatures)


def test_rules_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="different kinds, but got Patience, Patience"):
        ExitPolicy("margin", (0.5,), rules=(Patience(2), Patience(3)))
    other = Difficulty(0.2, (1.0, 1.0, 1.0))
    rules = DifficultyOffset(DIFFICULTY, 0.3), DifficultyBins(other, (), ((0.5,),))
    with pytest.raises(ValueError, match="must use the same difficulty"):
        ExitPolicy("margin", (0.5,), rules=rules)


def test_rules_in_any_order_and_neutral_ones_make_equal_policies():
    rules = Patience(2), MinExit(1), Coefficients(((1.1,), (0.9,)))
    policy = ExitPolicy("margin", (0.5, 0.5), rules=rules)
    assert policy == ExitPolicy("margin", (0.5, 0.5), rules=(*reversed(rules), MinExitByClass(()), StopHeads(())))
    assert policy.with_rules(Patience(1)) == ExitPolicy("margin", (0.5, 0.5), rules=rules[1:])
    assert policy.with_rules(MinExit(2)).find(MinExit) == MinExit(2)
    assert ExitPolicy("margin", (0.5, 0.5), rules=(Patience(1), MinExit(0))).plain


EVERY_RULE = (
    Patience(2),
    StopHeads((0.2, 0.3)),
    MinExit(1),
    MinExitByClass((0, 1)),
    Coefficients(((1.0, 1.1), (0.9,))),
    DifficultyOffset(DIFFICULTY, 0.3),
    DifficultyBins(DIFFICULTY, (0.5,), ((0.1, None), (None, None))),
)


def test_json_round_trip_of_a_policy_with_every_rule():
    policy = ExitPolicy("confidence", (0.1, None), (1.0, 1.5, 2.0), EVERY_RULE)
    assert ExitPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    assert tuple(policy.to_json()) == KEYS
    assert not policy.plain


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_json_round_trip_of_a_policy_with_one_rule(rule):
    policy = ExitPolicy("confidence", (0.1, None), rules=(rule,))
    assert ExitPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


@pytest.mark.parametrize(
    "more, problem",
    [
        ({"beta_diff": 0.3}, "need a difficulty, but got none"),
        ({"binned_thresholds": [[0.3]]}, "need a difficulty, but got none"),
        ({"patients": 2}, "keys must be among criterion, .*, but got patients"),
    ],
)
def test_invalid_json_is_refused(more, problem):
    with pytest.raises(ValueError, match=problem):
        ExitPolicy.from_json({"criterion": "margin", "thresholds": [0.5]} | more)


def test_policies_of_recorded_runs_are_written_as_they_were_read(root):
    """Byte for byte, since the ids of their operating points are hashes of it."""
    folders = *(root / "results").iterdir(), root / "tests" / "fixtures" / "run_of_version_0_1" / "run"
    policies = 0
    for file in (file for folder in folders for file in sorted(folder.glob("trials.jsonl"))):
        for line in file.read_text(encoding="utf-8").splitlines():
            for point in json.loads(line).get("points", []):
                policies += 1
                assert json.dumps(ExitPolicy.from_json(point["policy"]).to_json()) == json.dumps(point["policy"])
    assert policies > 100


def test_json_round_trip():
    policy = ExitPolicy("entropy", (0.1, None, 1.0))
    assert ExitPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    assert json.dumps(policy.to_json()) == '{"criterion": "entropy", "thresholds": [0.1, null, 1.0]}'  # ids hash this
    assert policy.plain


def test_label_sentences_and_threshold_texts_of_a_policy():
    plain = ExitPolicy("margin", (0.5, None))
    assert (plain.label, plain.sentences) == ("margin", [])
    assert [plain.threshold_text(index) for index in range(3)] == ["0.5", "never", "always"]
    rules = Patience(2), StopHeads((0.1, 0.1)), MinExit(1), MinExitByClass((1, 1))
    rich = ExitPolicy("confidence", (0.5, 0.25), (1.0, 1.5, 2.0), rules)
    assert rich.label == "confidence + 2 agree + stop > 0.1 + minimum depth"
    assert rich.sentences == [
        "Logits are divided by the exits' temperatures 1, 1.5, 2.",
        "2 exits in a row must agree on the class.",
        "The stop head's probability must exceed 0.1, 0.1.",
        "No image leaves before the minimum exit of its predicted class.",
    ]
    assert [rich.threshold_text(index) for index in range(3)] == ["never", "0.25", "always"]
    by_difficulty = ExitPolicy("confidence", (0.1, None), rules=EVERY_RULE[4:])
    assert by_difficulty.label == "confidence + difficulty"
    assert by_difficulty.threshold_text(0) == "by difficulty"
    assert [sentence.split()[0] for sentence in by_difficulty.sentences] == ["Thresholds", "Thresholds", "0.3"]
