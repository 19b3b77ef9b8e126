"""The best thresholds of a grid for a soft target, on an ExitTable.

Legend: e exits; `tk`: t threshold vectors of k early exits.
"""

from collections.abc import Sequence

import numpy as np

from aebnas.core.metrics import SoftTarget
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.joint_grid import combinations
from aebnas.policies.threshold_search.min_exit import with_min_exit
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.min_exits import MinExits


def tune_to_target(
    table: ExitTable,
    criteria: Sequence[str],
    choices: Sequence[float | None],
    target: SoftTarget,
    min_exits: MinExits | None = None,
) -> ExitPolicy:
    """The best policy of the grid `choices` ^ (e - 1) in the soft target's first objective (AEBNAS's threshold grid).

    `None` is never; no sample leaves before `min_exits`. Ties: the first in the order of `criteria` and of the grid.
    """
    min_exits = min_exits or MinExits()
    grid = np.array([np.inf if choice is None else choice for choice in choices], dtype=np.float32)
    early = table.exits - 1
    thresholds_tk = combinations([grid] * early)
    # an exit where no sample may leave doesn't run
    thresholds_tk[:, : max(min_exits.all, min(min_exits.by_class, default=0))] = np.inf
    best: tuple[float, ExitPolicy] | None = None
    for criterion in criteria if early else criteria[:1]:
        figures = with_min_exit(ThresholdProblem.of(table, criterion), table, min_exits).evaluate(thresholds_tk)
        means = zip(figures.accuracy_t, figures.cost_t, strict=True)
        values = [target.minimised({"accuracy": accuracy, "avg_macs": macs})[0] for accuracy, macs in means]
        flat = int(np.argmin(values))
        if best is None or values[flat] < best[0]:
            picked = np.unravel_index(flat, (len(choices),) * early) if early else ()
            thresholds = tuple(choices[int(index)] for index in picked)
            policy = ExitPolicy(criterion, thresholds, rules=min_exits.rules, temperatures=table.temperatures)
            best = values[flat], policy
    assert best is not None, "a space has at least one criterion"
    return best[1]
