"""Random exit tables, and the plainest way to judge a threshold vector on one."""

from functools import partial
from itertools import pairwise

import numpy as np

from aebnas.cost.exit_costs import ExitCosts, SampleCosts
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy


def random_costs(exits, rng):
    """Whole numbers, the backbone's ascending."""
    return ExitCosts(tuple(np.cumsum(rng.integers(1, 99, exits)).tolist()), tuple(rng.integers(1, 50, exits).tolist()))


def random_table(samples, exits, seed):
    """Scores without meaning: `margin` distinct, `entropy` of four values, as a saturated softmax gives."""
    rng = np.random.default_rng(seed)
    scores = {
        "margin": rng.random((samples, exits), np.float32),
        "entropy": (rng.integers(0, 4, (samples, exits)) / 3).astype(np.float32),
    }
    costs = {"macs": random_costs(exits, rng)}
    return ExitTable(scores, rng.random((samples, exits)) < np.linspace(0.5, 0.9, exits), costs)


def lifelike(samples, exits, seed):
    """Scores that say how likely an answer is right, harder samples scoring low at every exit."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=(samples, 1)) * 1.5 + rng.normal(size=(samples, exits)) * 0.6 + np.linspace(-0.5, 1, exits)
    scores = (1 / (1 + np.exp(-logit))).astype(np.float32)
    correct = rng.random((samples, exits)) < 0.1 + 0.9 * scores
    costs = ExitCosts(
        tuple(np.cumsum(rng.integers(50, 99, exits)).tolist()), tuple(rng.integers(1, 20, exits).tolist())
    )
    return ThresholdProblem(scores[:, :-1], correct, costs, partial(ExitPolicy, "margin"))


def per_sample(scored, seed):
    """The same with costs that differ from sample to sample."""
    rng = np.random.default_rng(seed)
    shape = scored.correct_ne.shape
    costs = SampleCosts(np.cumsum(rng.random(shape), axis=1), rng.random(shape))
    return ThresholdProblem(scored.scores_nk, scored.correct_ne, costs, scored.make)


def plainly(scored, thresholds):
    """Right answers, samples per exit, summed cost and summed cost of taken branches, sample by sample."""
    costs, exits = scored.costs, scored.early + 1
    right, counts, charged, taken_only = 0, [0] * exits, 0, 0
    for sample in range(scored.samples):
        if isinstance(costs, SampleCosts):
            backbone, branch = costs.backbone_ne[sample], costs.branch_ne[sample]
        else:
            backbone, branch = costs.backbone_e, costs.branch_e
        cost = 0
        for index, (before, site) in enumerate(pairwise((0, *backbone))):
            cost += site - before
            last = index == exits - 1
            if last or np.isfinite(thresholds[index]):
                cost += branch[index]
            if last or scored.scores_nk[sample, index] > thresholds[index]:
                break
        right += bool(scored.correct_ne[sample, index])
        counts[index] += 1
        charged += cost
        taken_only += backbone[index] + branch[index]
    return right, counts, charged, taken_only
