"""A table of 4 samples and 3 exits, small enough to work out by hand."""

import numpy as np

from aebnas.cost.exit_costs import ExitCosts

SCORES = np.array([[0.9, 0.1, 0.0], [0.5, 0.8, 0.0], [0.2, 0.6, 0.0], [0.1, 0.2, 0.0]], np.float32)
CORRECT = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]], bool)
COSTS = ExitCosts(backbone_e=(10, 30, 60), branch_e=(1, 2, 4))
