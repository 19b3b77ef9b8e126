"""Online adaptation of exit thresholds in a deployed model: a pure function (policy, state, observation) -> state.

Every threshold has a coefficient per predicted class (the rule `Coefficients`). Observations go into windows per
exit and class; after every `every` inferences the coefficients are updated from the windows (DART):
    temporal     c <- decay * c + (1 - decay) * f,  f = 1 + (A_target - A_exit), clipped;
    class-aware  c <- c + eta * (A_target - A_class),
and are clipped to bounds. Correctness is known only for samples with a label: an audited share that also ran to full
depth, whose last exit's prediction is the label, or samples with true labels as feedback. The prediction of a sample
that left early is never its own label: it would always be right, and coefficients would fall to their lower bound.

With several coefficient sets (`arms`) UCB1 (Auer et al. 2002) selects among them by their windowed J.

Legend: n samples, e exits, k classes, w entries of a window, a arms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .exit_policy import ExitPolicy
from .threshold_rules import Coefficients

UNKNOWN = -1
"""The label of a sample whose class is not known."""

GOLDEN = (math.sqrt(5) - 1) / 2

Factors = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class AdaptivePolicy:
    """An ExitPolicy and how its coefficients are adapted.

    `target` is the accuracy to reach at every exit (agreement with the last exit, where labels come from audits);
    `audit_share` of the samples are audited. `beta_opt` weighs cost against accuracy in J = A - beta_opt * C. `arms`
    are coefficient sets (`[e - 1]` rows of one or k factors on the coefficients); with none or one there is nothing to
    select. Raises ValueError for settings out of range.
    """

    base: ExitPolicy
    classes: int
    target: float = 0.85
    window: int = 1000
    every: int = 100
    decay: float = 0.95
    factor: tuple[float, float] = (0.8, 1.25)
    eta: float = 0.01
    bounds: tuple[float, float] = (0.5, 2.0)
    audit_share: float = 0.01
    beta_opt: float = 0.5
    arms: tuple[Factors, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.every <= self.window:
            raise ValueError(f"every must lie in 1..window ({self.window}), but got {self.every}")
        for name in ("target", "decay", "audit_share", "beta_opt"):
            if not 0.0 <= (value := getattr(self, name)) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], but got {value}")
        for name in ("factor", "bounds"):
            low, high = getattr(self, name)
            if not 0.0 < low <= 1.0 <= high:
                raise ValueError(f"{name} must be a range around 1 above 0, but got {low}..{high}")
        if self.eta < 0:
            raise ValueError(f"eta must be at least 0, but got {self.eta}")
        for arm in self.arms:
            self.base.with_rules(Coefficients(arm))  # checks the shape
            if any(len(row) not in (1, self.classes) for row in arm):
                raise ValueError(f"arms must hold 1 or {self.classes} factors an exit, but got {arm}")

    @property
    def exits(self) -> int:
        """Number of exits, the last one included."""
        return len(self.base.thresholds) + 1

    def audited(self, seen: int, count: int) -> Tensor:
        """Which of the `count` samples after the first `seen` are audited, bool `[n]`.

        Spread evenly and without a period, so that periodic input cannot align with the audits.
        """
        number_n = torch.arange(seen, seen + count, dtype=torch.float64)
        return (number_n * GOLDEN) % 1.0 < self.audit_share


class Observation(NamedTuple):
    """The outcome of n samples, in the order in which they were seen.

    `exit_n` and `class_n` (predicted there) are int64; `cost_n` is the cost of the sample, audit included, as a share
    of the full network's cost; `label_n` int64, -1 where it isn't known.
    """

    exit_n: Tensor
    class_n: Tensor
    cost_n: Tensor
    label_n: Tensor


class Window(NamedTuple):
    """Ring buffers of the last w samples of each of c cells; `right` is 1, 0 or, without a label, -1."""

    right_cw: Tensor
    cost_cw: Tensor
    count_c: Tensor

    @classmethod
    def empty(cls, cells: int, width: int) -> Window:
        """Windows without samples."""
        unknown_cw = torch.full((cells, width), UNKNOWN, dtype=torch.int8)
        return cls(unknown_cw, torch.zeros(cells, width), torch.zeros(cells, dtype=torch.int64))

    def add(self, cell_n: Tensor, right_n: Tensor, cost_n: Tensor) -> Window:
        """The windows with n more samples, at most as many as a ring has entries; they replace the oldest."""
        order_n = cell_n.argsort(stable=True)
        cell_n = cell_n[order_n]
        per_cell_c = torch.bincount(cell_n, minlength=len(self.count_c))
        rank_n = torch.arange(len(cell_n)) - (per_cell_c.cumsum(0) - per_cell_c)[cell_n]
        place_n = (self.count_c[cell_n] + rank_n) % self.right_cw.shape[1]

        def added(ring_cw: Tensor, value_n: Tensor) -> Tensor:
            ring_cw = ring_cw.clone()
            ring_cw[cell_n, place_n] = value_n[order_n].to(ring_cw.dtype)
            return ring_cw

        return Window(
            added(self.right_cw, right_n),
            added(self.cost_cw, cost_n),
            self.count_c + per_cell_c,
        )

    def held_c(self) -> Tensor:
        """Number of samples in each ring, int64."""
        return self.count_c.clamp(max=self.right_cw.shape[1])

    def accuracy_c(self) -> Tensor:
        """Accuracy of the labelled samples in each ring, float64; NaN where none is labelled."""
        return _ratio((self.right_cw == 1).sum(1), (self.right_cw >= 0).sum(1))

    def mean_cost_c(self) -> Tensor:
        """Mean cost over each ring, float64; NaN where it is empty."""
        return _ratio(self.cost_cw.double().sum(1), self.held_c())


class AdaptState(NamedTuple):
    """The state, of constant size: `cells` of e x k windows, one window per arm.

    `coefficients_ek` (float64, early exits) are those before the arm's factors are applied; `pulls_a` counts the
    periods of each arm.
    """

    seen: int
    coefficients_ek: Tensor
    cells: Window
    arm: int
    arms: Window
    pulls_a: Tensor


def initial_state(policy: AdaptivePolicy) -> AdaptState:
    """The state before the first sample: the base policy's coefficients (1 where it has none), the first arm."""
    early = policy.exits - 1
    own = policy.base.find(Coefficients)
    rows = ((1.0,),) * early if own is None else own.factors
    full = [row * policy.classes if len(row) == 1 else row for row in rows]
    coefficients_ek = torch.tensor(full, dtype=torch.float64).reshape(early, policy.classes)
    arms = max(1, len(policy.arms))
    cells = Window.empty(policy.exits * policy.classes, policy.window)
    return AdaptState(
        0, coefficients_ek, cells, 0, Window.empty(arms, policy.window), torch.zeros(arms, dtype=torch.int64)
    )


def current_policy(policy: AdaptivePolicy, state: AdaptState) -> ExitPolicy:
    """The ExitPolicy in force until the next update."""
    return policy.base.with_rules(Coefficients(current_factors(policy, state)))


def current_factors(policy: AdaptivePolicy, state: AdaptState) -> Factors:
    """The coefficients in force, `[e - 1][k]`: the state's times the arm's factors, within bounds."""
    coefficients_ek = state.coefficients_ek
    if policy.arms:
        factors = [torch.tensor(row, dtype=torch.float64).expand(policy.classes) for row in policy.arms[state.arm]]
        coefficients_ek = coefficients_ek * torch.stack(factors) if factors else coefficients_ek
    rows = coefficients_ek.clamp(*policy.bounds).tolist()
    return tuple(map(tuple, rows))


def until_update(policy: AdaptivePolicy, state: AdaptState) -> int:
    """The number of samples for which `current_policy` holds before the next update."""
    return policy.every - state.seen % policy.every


def adapt(policy: AdaptivePolicy, state: AdaptState, observation: Observation) -> AdaptState:
    """The state after an observation; `state` is not changed.

    The result doesn't depend on how samples are split into observations. Raises ValueError for exits or classes that
    the policy doesn't have.
    """
    for name, values_n, limit in (
        ("exits", observation.exit_n, policy.exits),
        ("classes", observation.class_n, policy.classes),
    ):
        if len(values_n) and not 0 <= int(values_n.min()) <= int(values_n.max()) < limit:
            got = f"{int(values_n.min())}..{int(values_n.max())}"
            raise ValueError(f"{name} must be in 0..{limit - 1}, but got {got}")
    while len(observation.exit_n):
        room = until_update(policy, state)
        state = _seen(policy, state, Observation(*(values[:room] for values in observation)))
        observation = Observation(*(values[room:] for values in observation))
        if state.seen % policy.every == 0:
            state = _updated(policy, state)
    return state


def ucb1(mean_a: Tensor, pulls_a: Tensor) -> int:
    """The arm of the largest mean + sqrt(2 ln t / n), t pulls in total (Auer et al. 2002); arms without a mean come
    first."""
    untried_a = mean_a.isnan() | (pulls_a == 0)
    if untried_a.any():
        return int(untried_a.int().argmax())
    return int((mean_a + (2 * pulls_a.sum().double().log() / pulls_a).sqrt()).argmax())


def _seen(policy: AdaptivePolicy, state: AdaptState, seen: Observation) -> AdaptState:
    right_n = torch.where(seen.label_n == UNKNOWN, UNKNOWN, (seen.class_n == seen.label_n).long())
    outcome = right_n, seen.cost_n
    return state._replace(
        seen=state.seen + len(right_n),
        cells=state.cells.add(seen.exit_n * policy.classes + seen.class_n, *outcome),
        arms=state.arms.add(torch.full_like(seen.exit_n, state.arm), *outcome),
    )


def _updated(policy: AdaptivePolicy, state: AdaptState) -> AdaptState:
    pulls_a = state.pulls_a.clone()
    pulls_a[state.arm] += 1
    arm = ucb1(state.arms.accuracy_c() - policy.beta_opt * state.arms.mean_cost_c(), pulls_a) if policy.arms else 0
    shape = policy.exits, policy.classes, policy.window
    right_ekw = state.cells.right_cw.view(shape)[:-1]
    per_exit_e1 = _ratio((right_ekw == 1).sum((1, 2)), (right_ekw >= 0).sum((1, 2)))[:, None]
    per_class_ek = _ratio((right_ekw == 1).sum(2), (right_ekw >= 0).sum(2))
    c_ek = state.coefficients_ek
    f_e1 = (1 + policy.target - per_exit_e1).clamp(*policy.factor)
    c_ek = torch.where(f_e1.isnan(), c_ek, policy.decay * c_ek + (1 - policy.decay) * f_e1)
    c_ek = torch.where(per_class_ek.isnan(), c_ek, c_ek + policy.eta * (policy.target - per_class_ek))
    return state._replace(coefficients_ek=c_ek.clamp(*policy.bounds), arm=arm, pulls_a=pulls_a)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole in float64; NaN where whole is 0."""
    return torch.where(whole > 0, part.double() / whole, torch.nan)
