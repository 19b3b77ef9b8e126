"""Thresholds of many exits by a Lagrangian sweep with coordinate ascent, for problems too large for a joint grid.

For a price beta of cost the objective is the mean of accuracy - beta * cost / full cost. With all thresholds but one
given, the best candidate of that exit is exact: which samples reach it depends on the exits before, the value of
a sample beyond it on the exits after. One pass from the last exit to the first thus costs O(n k), and passes repeat
until nothing changes. That finds a local optimum, so there are several starts. The prices are the slopes of the
chords between points found (both ends first), so every corner of the frontier's hull is found once.

Points between the corners are optimal for no price. Every corner's thresholds are therefore varied exit by exit,
and two neighbouring exits at a time up to a limit; all vectors are then evaluated together.

Legend: n samples, k early exits, c candidates of an exit, t threshold vectors; indices are of candidates.
"""

from dataclasses import dataclass

import numpy as np

from aebnas.policies.threshold_search.frontier import Frontier, frontier_of
from aebnas.policies.threshold_search.joint_grid import candidates
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy

STARTS = 6
"""Random starts for every price, besides the two extremes of all exits and the neighbours on the frontier."""
MAX_PRICES = 60
MAX_PASSES = 50
MAX_VARIED = 60_000
"""Approximate maximum number of vectors evaluated around the corners of the hull."""
EPSILON = 1e-12


@dataclass(frozen=True)
class _Problem:
    """Candidates `grid` of each exit, `above_nk` the number of them below a sample's score, what the sample adds to the
    accuracy at each exit, and costs."""

    grid: list[np.ndarray]
    above_nk: np.ndarray
    right_ne: np.ndarray
    onward_ne: np.ndarray
    branch_ne: np.ndarray

    def value(self, index_k: np.ndarray, beta: float) -> float:
        """The objective of a vector, summed over samples."""
        running_n = np.ones(len(self.right_ne), dtype=bool)
        total = 0.0
        for exit_, chosen in enumerate([*index_k, -1]):
            last = exit_ == len(index_k)
            cost_n = self.onward_ne[:, exit_]
            if last or chosen < len(self.grid[exit_]) - 1:
                cost_n = cost_n + self.branch_ne[:, exit_]
            total -= beta * float(cost_n[running_n].sum())
            leaves_n = running_n if last else running_n & (self.above_nk[:, exit_] > chosen)
            total += float(self.right_ne[leaves_n, exit_].sum())
            running_n = running_n & ~leaves_n
        return total

    def ascend(self, index_k: np.ndarray, beta: float) -> np.ndarray:
        """A vector that no change of a single threshold improves."""
        index_k = index_k.copy()
        for _ in range(MAX_PASSES):
            before_k = index_k.copy()
            self._pass(index_k, beta)
            if np.array_equal(before_k, index_k):
                break
        return index_k

    def _pass(self, index_k: np.ndarray, beta: float) -> None:
        """Set each threshold to its best, from the last exit to the first."""
        running_nk = np.ones_like(self.above_nk, dtype=bool)
        for exit_ in range(1, len(index_k)):
            stays_n = self.above_nk[:, exit_ - 1] <= index_k[exit_ - 1]
            running_nk[:, exit_] = running_nk[:, exit_ - 1] & stays_n
        beyond_n = self.right_ne[:, -1] - beta * (self.onward_ne[:, -1] + self.branch_ne[:, -1])
        for exit_ in reversed(range(len(index_k))):
            running_n, above_n = running_nk[:, exit_], self.above_nk[:, exit_]
            gain_n = self.right_ne[:, exit_] - beyond_n
            size = len(self.grid[exit_])
            gain_c = np.bincount(above_n[running_n], weights=gain_n[running_n], minlength=size)
            # at candidate c the samples leave that are above more than c candidates
            value_c = np.append(np.cumsum(gain_c[:0:-1])[::-1], 0.0)
            branch_n = self.branch_ne[:, exit_]
            value_c[:-1] -= beta * branch_n[running_n].sum()
            best = int(np.argmax(value_c))
            if value_c[best] > value_c[index_k[exit_]] + EPSILON * len(above_n):
                index_k[exit_] = best
            chosen = index_k[exit_]
            beyond_n = np.where(above_n > chosen, self.right_ne[:, exit_], beyond_n)
            beyond_n = beyond_n - beta * (self.onward_ne[:, exit_] + branch_n * (chosen < size - 1))


def lagrangian(scored: ThresholdProblem, per_exit: int, seed: int = 0) -> Frontier[ExitPolicy]:
    """The frontier over `per_exit` quantiles of every exit, 0 and never, found without evaluating all combinations.

    Random starts are drawn from `seed`: the same table gives the same frontier.
    """
    if scored.early == 0:
        return frontier_of(scored, np.zeros((1, 0), dtype=np.float32))
    problem = _problem(scored, per_exit)
    corners_tk = _corners(problem, np.random.default_rng(seed), scored)
    index_tk = np.unique(np.concatenate([corners_tk, *_varied(problem, corners_tk)]), axis=0)
    thresholds = [grid[index_tk[:, exit_]] for exit_, grid in enumerate(problem.grid)]
    return frontier_of(scored, np.stack(thresholds, axis=1))


def _problem(scored: ThresholdProblem, per_exit: int) -> _Problem:
    grid = candidates(scored, per_exit)
    above = [np.searchsorted(grid[i], scored.scores_nk[:, i], side="left") for i in range(scored.early)]
    backbone_ne, branch_ne = (np.broadcast_to(part, scored.correct_ne.shape) for part in scored.costs.parts())
    onward_ne = np.diff(backbone_ne, axis=1, prepend=0.0) / scored.full_cost
    return _Problem(grid, np.stack(above, 1), scored.right_ne, onward_ne, branch_ne / scored.full_cost)


def _corners(problem: _Problem, rng: np.random.Generator, scored: ThresholdProblem) -> np.ndarray:
    """Vectors at the corners of the frontier's hull, indices `[t, k]`, and all other vectors that were evaluated."""
    sizes_k = np.array([len(grid) for grid in problem.grid])
    seen: dict[bytes, tuple[np.ndarray, float, float]] = {}

    def point(index_k: np.ndarray) -> tuple[np.ndarray, float, float]:
        key = index_k.tobytes()
        if key not in seen:
            right = problem.value(index_k, 0.0)
            seen[key] = index_k, right, right - problem.value(index_k, 1.0)
        return seen[key]

    def solve(beta: float, starts: list[np.ndarray]) -> tuple[np.ndarray, float, float]:
        starts = [*starts, sizes_k - 1, 0 * sizes_k]
        starts += [rng.integers(0, sizes_k) for _ in range(STARTS)]
        # exits switched off at random: single steps rarely set several to `never` together
        starts += [np.where(rng.random(len(sizes_k)) < 0.5, sizes_k - 1, start) for start in starts[-STARTS:]]
        found = [point(problem.ascend(start, beta)) for start in starts]
        return max(found, key=lambda each: (each[1] - beta * each[2], each[1]))

    cheap, accurate = solve(1e4, []), solve(0.0, [])
    accurate = max([accurate, solve(1e-6, [accurate[0]])], key=lambda each: (each[1], -each[2]))
    pending, prices = [(cheap, accurate)], 0
    while pending and prices < MAX_PRICES:
        # the widest gap first, in case MAX_PRICES is reached
        pending.sort(key=lambda pair: (pair[1][1] - pair[0][1]) * (pair[1][2] - pair[0][2]))
        low, high = pending.pop()
        if high[1] <= low[1] or high[2] <= low[2]:
            continue
        beta = (high[1] - low[1]) / (high[2] - low[2])
        prices += 1
        middle = solve(beta, [low[0], high[0]])
        if middle[1] - beta * middle[2] > high[1] - beta * high[2] + 1e-9:
            pending += [(low, middle), (middle, high)]
    return np.array([each[0] for each in seen.values()])


def _varied(problem: _Problem, corners_tk: np.ndarray) -> list[np.ndarray]:
    """Each vector with one threshold, or two neighbouring ones, set to every candidate (of a coarser grid)."""
    early = corners_tk.shape[1]
    share = max(1, MAX_VARIED // (len(corners_tk) * early))
    varied = []
    for exit_, grid in enumerate(problem.grid):
        single = _spread(len(grid), share)
        varied.append(_set(corners_tk, [exit_], single[:, None]))
        each = int(share**0.5)
        if exit_ + 1 < early and each > 2:
            first, second = _spread(len(grid), each), _spread(len(problem.grid[exit_ + 1]), each)
            pairs = np.stack(np.meshgrid(first, second, indexing="ij"), -1).reshape(-1, 2)
            varied.append(_set(corners_tk, [exit_, exit_ + 1], pairs))
    return varied


def _spread(size: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, count)).round().astype(int))


def _set(index_tk: np.ndarray, exits: list[int], values_vx: np.ndarray) -> np.ndarray:
    repeated = np.repeat(index_tk, len(values_vx), axis=0)
    repeated[:, exits] = np.tile(values_vx, (len(index_tk), 1))
    return repeated
