"""Thresholds with a finite-sample guarantee (fixed-sequence testing, as in Learn then Test, Angelopoulos et al. 2021).

The risk of a policy is the share of inputs that the full network classifies correctly and the early exit doesn't. With
probability of at least 1 - delta over the draw of `certify`, the risk of the selected policy is at most epsilon.

Candidates are fixed and ordered on `calibrate`, from low to high risk. On `certify`, which is used for nothing else,
they are tested in this order, each for the hypothesis "its risk exceeds epsilon", and the last one before the first
whose hypothesis can't be rejected at level delta is selected. An error requires that the hypothesis of the first
candidate whose risk is too high is rejected, which has probability delta at most, whatever the other candidates' risks.
Where none passes, the full network is selected, whose risk is 0.

Legend: n samples, e exits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from typing import Any

import numpy as np
from scipy.special import bdtr  # only the binomial distribution function: importing scipy.stats takes long

from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.frontier import Frontier
from aebnas.runtime.exit_policy import ExitPolicy


def keeps_final_answer(table_correct_ne: np.ndarray) -> np.ndarray:
    """Whether leaving at each exit loses no correct prediction, bool `[n, e]`: it is right, or the last exit is wrong.

    With this as correctness, the accuracy of a policy is 1 - risk.
    """
    return table_correct_ne | ~table_correct_ne[:, -1:]


def binomial_p_value(losses: int, samples: int, epsilon: float) -> float:
    """The probability of at most `losses` losses if the risk were epsilon: exact for losses of 0 or 1."""
    return float(bdtr(losses, samples, epsilon))


def hoeffding_bentkus_p_value(risk: float, samples: int, epsilon: float) -> float:
    """The p-value of Bates et al. (2021), valid for any losses in [0, 1] of mean `risk`."""
    if risk >= epsilon:
        return 1.0
    # relative entropy of Bernoulli variables with means risk and epsilon; 0 ln 0 is 0
    divergence = risk * log(risk / epsilon) if risk > 0 else 0.0
    divergence += (1 - risk) * log((1 - risk) / (1 - epsilon))
    hoeffding = exp(-samples * divergence)
    # a count that rounding raised slightly above a whole number must not become the next one
    bentkus = exp(1) * float(bdtr(ceil(round(samples * risk, 6)), samples, epsilon))
    return min(hoeffding, bentkus, 1.0)


@dataclass(frozen=True)
class Tested:
    """A candidate's losses on `certify` and its p-values; the binomial one decides."""

    policy: ExitPolicy
    losses: int
    p_binomial: float
    p_hoeffding_bentkus: float


@dataclass(frozen=True)
class RiskPromise:
    """The guarantee, the number of samples, and its tests in their order, up to the first that failed.

    `policy` is the full network's (all exits never) where `passed` is 0.
    """

    policy: ExitPolicy
    samples: int
    epsilon: float
    delta: float
    tested: tuple[Tested, ...]
    passed: int
    candidates: int

    def __str__(self) -> str:
        chance = f"With probability of at least {1 - self.delta:g} over the draw of {self.samples} certify samples"
        promise = f"a share of at most {self.epsilon:g} of inputs is wrong at an early exit and right at the last"
        if self.passed == 0:
            return f"{chance}, {promise}: no candidate passed, so no input leaves early."
        return f"{chance}, {promise} ({self.passed} of {self.candidates} candidates passed)."

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary for a model card."""
        return {
            "promise": str(self),
            "n": self.samples,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "candidates": self.candidates,
            "passed": self.passed,
            "policy": self.policy.to_json(),
            "tests": [
                {
                    "policy": test.policy.to_json(),
                    "losses": test.losses,
                    "p_binomial": test.p_binomial,
                    "p_hoeffding_bentkus": test.p_hoeffding_bentkus,
                }
                for test in self.tested
            ],
        }


def ordered_by_risk(found: Frontier[ExitPolicy]) -> list[ExitPolicy]:
    """Candidates from a frontier found with `keeps_final_answer` as correctness, from low to high risk."""
    return [point.policy for point in reversed(found.points)]


def losses(table: ExitTable, policy: ExitPolicy) -> np.ndarray:
    """Whether the exit taken is wrong and the last exit right, bool `[n]`."""
    taken_n = table.exit_taken(policy)
    return ~keeps_final_answer(table.correct_ne)[np.arange(table.samples), taken_n]


def certify(candidates: Sequence[ExitPolicy], table: ExitTable, epsilon: float, delta: float) -> RiskPromise:
    """Test candidates in the given order on the `certify` table, which must not have been used to find them (Learn then
    Test, Angelopoulos et al. 2021).

    Raises ValueError for epsilon or delta outside (0, 1), no candidates or no samples.
    """
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} must lie in (0, 1), but got {value}")
    if not candidates or not table.samples:
        raise ValueError(
            f"candidates and samples must be at least 1 each, but got {len(candidates)} and {table.samples}"
        )
    tested: list[Tested] = []
    first = candidates[0]
    selected = ExitPolicy(first.criterion, (None,) * (table.exits - 1), temperatures=first.temperatures)
    passed = 0
    for policy in candidates:
        lost = int(losses(table, policy).sum())
        p_value = binomial_p_value(lost, table.samples, epsilon)
        tested.append(
            Tested(policy, lost, p_value, hoeffding_bentkus_p_value(lost / table.samples, table.samples, epsilon))
        )
        if p_value > delta:
            break
        selected, passed = policy, passed + 1
    return RiskPromise(selected, table.samples, epsilon, delta, tuple(tested), passed, len(candidates))
