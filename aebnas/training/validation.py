"""The figures that training reports for a network after an epoch: per-exit accuracy and expected cost."""

import numpy as np

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.training.task import Row

REFERENCE_CRITERION, REFERENCE_THRESHOLD = "confidence", 0.9
"""The policy under which training reports the expected cost of a network."""


def exit_rows(table: ExitTable) -> Row:
    """Accuracy of each exit over all samples, and accuracy and average MACs under the reference policy."""
    policy = ExitPolicy(REFERENCE_CRITERION, (REFERENCE_THRESHOLD,) * (table.exits - 1))
    scored = score_policy(table, policy)
    row: Row = {"accuracy_at_0.9": scored.accuracy, "avg_macs_at_0.9": scored.avg_macs}
    for number, accuracy in enumerate(np.asarray(table.correct_ne).mean(0), start=1):
        row[f"exit{number}_accuracy"] = float(accuracy)
    return row
