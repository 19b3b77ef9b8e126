"""Summaries of exits by hand."""

import numpy as np
import pytest
from random_tables import random_table

from aebnas.policies.calibration.exit_summary import summarise_exits


def test_each_exit_is_summarised_over_all_samples():
    table = random_table(50, 3, 0)
    summaries = summarise_exits(table, quantiles=(0.25, 0.5, 0.75))
    assert [summary.accuracy_alone for summary in summaries] == table.correct_ne.mean(0).tolist()
    first = summaries[0]
    assert first.quantiles["margin"] == pytest.approx(np.quantile(table.scores["margin"][:, 0], [0.25, 0.5, 0.75]))
    assert set(first.candidates) == {"margin", "entropy"}
    assert first.candidates["margin"][0] == 0.0 and first.candidates["margin"][-1] == np.inf
    assert len(first.candidates["margin"]) == 5
