"""DART's factor beta_diff and the weights of its difficulty, tuned by cross-validation on an ExitTable.

Legend: n samples, k early exits; 3 terms.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor

from aebnas.policies.threshold_search.dart import DartSetting, dart_scores
from aebnas.policies.threshold_search.frontier import Frontier
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy

BETA_DIFFS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Values of beta_diff that are tried; DART's is 0.3, and at 0 the difficulty has no effect."""

Search = Callable[[ThresholdProblem], Frontier[ExitPolicy]]


def tune_dart(
    scored: ThresholdProblem,
    difficulties: Iterable[Difficulty],
    terms_n3: Tensor,
    search: Search,
    beta_opt: float,
    betas: Iterable[float] = BETA_DIFFS,
    estimator_cost: float = 0,
    folds: int = 5,
    seed: int = 0,
) -> DartSetting:
    """The difficulty and beta_diff of the best cross-validated J = accuracy - beta_opt * cost; ties: the first.

    `terms_n3` are the raw terms of the samples under the common `tau_edge` of the difficulties. For each fold,
    thresholds are found by `search` on the other folds and evaluated on it. Raises ValueError for fewer than 2 folds or
    fewer samples than folds.
    """
    if scored.samples < folds or folds < 2:
        raise ValueError(f"folds must be at least 2 and at most as many as samples, but got {folds}, {scored.samples}")
    fold_n = np.random.default_rng(seed).permutation(scored.samples) % folds
    best: DartSetting | None = None
    betas = tuple(betas)
    for difficulty in difficulties:
        alpha_n = difficulty.mix(terms_n3).numpy()
        for beta_diff in betas:
            shifted = dart_scores(scored, difficulty, alpha_n, beta_diff, estimator_cost)
            objective = float(np.mean([_held_out(shifted, fold_n == fold, search, beta_opt) for fold in range(folds)]))
            if best is None or objective > best.objective:
                best = DartSetting(difficulty, beta_diff, objective)
    assert best is not None, "there is at least one difficulty"
    return best


def tune_weights(
    scored: ThresholdProblem,
    difficulty: Difficulty,
    terms_n3: Tensor,
    search: Search,
    beta_opt: float,
    beta_diff: float = 0.3,
    trials: int = 30,
    estimator_cost: float = 0,
    folds: int = 5,
    seed: int = 0,
) -> DartSetting:
    """The weights of the best cross-validated J among those of `difficulty` and `trials` random ones (see
    `tune_dart`)."""
    drawn = random_weights(difficulty, trials, seed)
    return tune_dart(scored, drawn, terms_n3, search, beta_opt, (beta_diff,), estimator_cost, folds, seed)


def random_weights(difficulty: Difficulty, trials: int, seed: int) -> Iterator[Difficulty]:
    """The estimator itself, then `trials` ones with weights drawn uniformly from the simplex."""
    yield difficulty
    for edge, variance, fine in np.random.default_rng(seed).dirichlet(np.ones(3), trials).tolist():
        yield replace(difficulty, weights=(edge, variance, fine))


def _held_out(scored: ThresholdProblem, held_n: np.ndarray, search: Search, beta_opt: float) -> float:
    """J on the held-out samples of the policy with the best J on the other samples."""
    found = search(scored.rows(~held_n)).best_for(beta_opt)
    thresholds = [np.inf if value is None else value for value in found.policy.thresholds]
    vector_1k = np.array([thresholds], dtype=np.float32).reshape(1, scored.early)
    figures = scored.rows(held_n).evaluate(vector_1k)
    return float(figures.accuracy_t[0] - beta_opt * figures.cost_t[0] / scored.full_cost)
