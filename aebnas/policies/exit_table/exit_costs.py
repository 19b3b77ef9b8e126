"""What it costs to leave at each exit: the same for every sample (`ExitCosts`), or depending on the input.

Both are made of a backbone, cumulative up to each exit's site, and a branch per exit. What every sample
is charged (a controller, a difficulty estimator) belongs to the backbone of every exit.

Legend: n samples, e exits, t threshold vectors.
"""

from dataclasses import dataclass

import numpy as np

from aebnas.cost.counts import ExitCosts


@dataclass(frozen=True)
class SampleCosts:
    """A cost that depends on the input: `backbone_ne` up to each exit's site (cumulative) and `branch_ne`.

    Raises ValueError where shapes differ or a number is negative or not finite.
    """

    backbone_ne: np.ndarray
    branch_ne: np.ndarray

    def __post_init__(self) -> None:
        if self.backbone_ne.ndim != 2 or self.backbone_ne.shape != self.branch_ne.shape:
            got = f"{self.backbone_ne.shape} and {self.branch_ne.shape}"
            raise ValueError(f"costs of backbone and branches must be of one shape [n, e], but got {got}")
        for part in (self.backbone_ne, self.branch_ne):
            if not (np.isfinite(part).all() and (part >= 0).all()):
                raise ValueError("costs must be finite and at least 0")


Costs = ExitCosts | SampleCosts


def parts(costs: Costs) -> tuple[np.ndarray, np.ndarray]:
    """Backbone and branches, float64, `[1, e]` where they are the same for every sample, else `[n, e]`."""
    if isinstance(costs, SampleCosts):
        return costs.backbone_ne.astype(float), costs.branch_ne.astype(float)
    return np.array(costs.backbone_e, float)[None], np.array(costs.branch_e, float)[None]


def to_exit(costs: Costs, runs_e: np.ndarray | None = None) -> np.ndarray:
    """Cost of a sample that leaves at each exit, branches passed included, `[1 or n, e]`.

    `runs_e` (bool `[e]`) tells which branches run at all; those of `never` exits don't.
    """
    backbone, branch = parts(costs)
    return backbone + np.cumsum(branch if runs_e is None else branch * runs_e, axis=1)


def taken_only(costs: Costs) -> np.ndarray:
    """Cost if of all branches only the one taken is charged, `[1 or n, e]`."""
    backbone, branch = parts(costs)
    return backbone + branch


def with_overhead(costs: Costs, overhead: float) -> Costs:
    """Costs with an overhead that every sample is charged, wherever it leaves."""
    if isinstance(costs, SampleCosts):
        return SampleCosts(costs.backbone_ne + overhead, costs.branch_ne)
    return ExitCosts(tuple(cost + overhead for cost in costs.backbone_e), costs.branch_e)


def full_cost(costs: Costs) -> float:
    """Mean cost of a sample for which everything runs: what costs are divided by where they must lie in [0, 1]."""
    return float(to_exit(costs)[:, -1].mean())


def exits_of(costs: Costs) -> tuple[int, int | None]:
    """Number of exits, and of samples where the cost depends on them."""
    if isinstance(costs, SampleCosts):
        samples, exits = costs.branch_ne.shape
        return exits, samples
    return len(costs.branch_e), None
