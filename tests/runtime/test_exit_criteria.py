"""Exit criteria against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.runtime.exit_criteria import CRITERIA, confidence, entropy, margin

QUARTERS = torch.tensor([[0.5, 0.25, 0.25]]).log()


def test_scores_by_hand():
    assert confidence(QUARTERS).item() == pytest.approx(0.5)
    assert margin(QUARTERS).item() == pytest.approx(0.25)
    # H = 0.5 ln 2 + 0.5 ln 4 = 1.5 ln 2
    assert entropy(QUARTERS).item() == pytest.approx(1 - 1.5 * math.log(2) / math.log(3))


def test_scores_of_uniform_and_certain_predictions():
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
