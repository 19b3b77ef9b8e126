"""Exit criteria against hand-worked numbers, and the policy's decision."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.runtime.decide import CRITERIA, ExitPolicy, confidence, entropy, margin

QUARTERS = torch.tensor([[0.5, 0.25, 0.25]]).log()


def test_hand_worked_scores():
    assert confidence(QUARTERS).item() == pytest.approx(0.5)
    assert margin(QUARTERS).item() == pytest.approx(0.25)
    # H = 0.5 ln 2 + 0.5 ln 4 = 1.5 ln 2
    assert entropy(QUARTERS).item() == pytest.approx(1 - 1.5 * math.log(2) / math.log(3))


def test_uniform_and_certain():
    uniform, certain = torch.zeros(1, 4), torch.tensor([[500.0, 0.0, 0.0, 0.0]])
    assert [score(uniform).item() for score in (confidence, margin, entropy)] == pytest.approx([0.25, 0.0, 0.0])
    assert [score(certain).item() for score in (confidence, margin, entropy)] == [1.0, 1.0, 1.0]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from(sorted(CRITERIA)),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_scores_lie_in_the_unit_interval(logits, criterion, dtype):
    scores = CRITERIA[criterion](torch.tensor(logits).to(dtype))
    assert scores.dtype == torch.float32
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_sample_leaves_above_the_threshold_and_not_at_it():
    half = torch.tensor([[0.0, 0.0], [1.0, 0.0]])  # confidences 0.5 and 0.73
    policy = ExitPolicy("confidence", (0.5, None))
    assert policy.stops(0, half).tolist() == [False, True]
    assert policy.stops(1, half).tolist() == [False, False]
    assert policy.stops(2, half).tolist() == [True, True]
    assert [policy.runs(index) for index in range(3)] == [True, False, True]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_saturated_softmax_does_not_leave_at_never_nor_at_one(criterion):
    certain = torch.tensor([[500.0, 0.0]])
    assert CRITERIA[criterion](certain).item() == 1.0
    for threshold in (None, 1.0):
        assert not ExitPolicy(criterion, (threshold,)).stops(0, certain).any()
    assert ExitPolicy(criterion, (0.999,)).stops(0, certain).all()


@pytest.mark.parametrize(
    "criterion, thresholds, problem",
    [
        ("certainty", (), "criterion must be one of confidence, entropy, margin, but got 'certainty'"),
        ("margin", (0.5, 1.5), r"exit 2 must lie in \[0, 1\] or be never, but got 1.5"),
        ("margin", (-0.1,), "exit 1 must lie"),
        ("margin", (float("nan"),), "exit 1 must lie"),
    ],
)
def test_refuses_nonsense(criterion, thresholds, problem):
    with pytest.raises(ValueError, match=problem):
        ExitPolicy(criterion, thresholds)


def test_json_round_trip():
    policy = ExitPolicy("entropy", (0.1, None, 1.0))
    assert ExitPolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    assert policy.to_json() == {"criterion": "entropy", "thresholds": [0.1, None, 1.0]}
