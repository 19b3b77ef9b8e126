"""What the tests of exit tables share."""

import pytest
from hand_table import CORRECT, COSTS, SCORES

from aebnas.policies.exit_table.exit_table import ExitTable


@pytest.fixture
def table():
    return ExitTable({"margin": SCORES}, CORRECT, {"macs": COSTS})
