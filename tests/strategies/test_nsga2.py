"""NSGA-II: it converges, satisfies constraints first, and uses several points per individual."""

from dataclasses import replace

import numpy as np
from synthetic import OBJECTIVES, FakeSpace, evaluate, run

from aebnas.core.metrics import Constraint, SoftTarget
from aebnas.core.pareto import hypervolume
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.strategies.build import make_strategy
from aebnas.strategies.strategy_spec import StrategySpec

SEEDS = (1, 2, 3, 4, 5)


def search(name, space, seed, constraints=(), target=None, points=1, **spec):
    settings = StrategySpec(name=name, **{"population": 20, "generations": 15, **spec})
    strategy = make_strategy(settings, space, OBJECTIVES, constraints, target, np.random.default_rng(seed))
    return run(strategy, space, constraints, points)


def volume(trials):
    """Hypervolume of all points found, as ZDT1's two objectives."""
    points = [((1 - p.metrics["accuracy"]) * 10, p.metrics["avg_macs"] - 1) for t in trials for p in t.points]
    return hypervolume(np.array(points)[:, ::-1], [1.1, 1.1])


def test_beats_random_search_and_approaches_the_known_front():
    space = FakeSpace((11, *[6] * 9))
    x = np.arange(11) / 10
    best = hypervolume(np.stack([x, 1 - np.sqrt(x)], 1), [1.1, 1.1])
    nsga2 = np.mean([volume(search("nsga2", space, seed)) for seed in SEEDS])
    random = np.mean([volume(search("random", space, seed)) for seed in SEEDS])
    assert nsga2 > 0.65 * best
    assert nsga2 > random + 0.5 * best


def test_starts_from_the_same_population_as_random_search():
    space = FakeSpace()
    nsga2, random = (search(name, space, 7, generations=1) for name in ("nsga2", "random"))
    assert [t.architecture for t in nsga2] == [t.architecture for t in random]


def test_finds_the_feasible_corner():
    # one candidate in 900 satisfies this budget, so it is found only by decreasing violations
    space, budget = FakeSpace(), [Constraint.parse("params <= 3")]
    searches = [search("nsga2", space, seed, budget) for seed in SEEDS]
    assert np.mean([t.status == "ok" for trials in searches for t in trials[:20]]) < 0.05
    assert np.mean([t.status == "ok" for trials in searches for t in trials[-100:]]) > 0.2


def test_soft_target_is_approached():
    space, target = FakeSpace(), SoftTarget("avg_macs", 1.5, 0.1)
    best = {
        name: [
            min(target.minimised(p.metrics)[0] for t in search(name, space, seed, target=target) for p in t.points)
            for seed in SEEDS
        ]
        for name in ("nsga2", "random")
    }
    assert np.mean(best["nsga2"]) < np.mean(best["random"]) - 5  # in points of AEBNAS's first objective


def test_converges_with_several_points_an_individual():
    space = FakeSpace(thresholds=1)
    nsga2 = np.mean([volume(search("nsga2", space, seed, points=3)) for seed in SEEDS])
    random = np.mean([volume(search("random", space, seed, points=3)) for seed in SEEDS])
    assert nsga2 > random + 0.1


def test_extreme_probabilities_are_accepted():
    space = FakeSpace()
    for crossover, mutation in ((0.0, 1.0), (1.0, 0.001)):
        trials = search("nsga2", space, 1, crossover_prob=crossover, mutation_prob=mutation, generations=3)
        assert 20 < len(trials) <= 60


def test_tuned_thresholds_are_written_back_to_the_genomes():
    """Every parent has the threshold that its trial used, whatever its genome had; all other genes are unchanged."""
    space, target = FakeSpace(thresholds=5), SoftTarget("avg_macs", 1.5, tunes_thresholds=True)
    spec = StrategySpec(population=8, generations=2)
    strategy = make_strategy(spec, space, OBJECTIVES, (), target, np.random.default_rng(3))
    jobs = strategy.ask()
    asked = {job.architecture.id: job for job in jobs}
    before = {space.decode([int(g) for g in i.X]).architecture.id: i.X.copy() for i in strategy._offspring}
    trials = [evaluate(space, job, number) for number, job in enumerate(jobs)]
    tuned = {
        trial.architecture.id: replace(
            trial, points=(replace(trial.points[0], policy=ExitPolicy("margin", ((number % 5) / 10,))),)
        )
        for number, trial in enumerate(trials)
    }
    strategy.tell(list(tuned.values()))
    parents = strategy._algorithm.pop
    assert len(parents) == len(asked) == 8 and len({int(parent.X[-1]) for parent in parents}) == 5
    for parent in parents:
        candidate = space.decode([int(gene) for gene in parent.X])
        assert candidate.policy == tuned[candidate.architecture.id].points[0].policy
        assert parent.X[:-1].tolist() == before[candidate.architecture.id][:-1].tolist()
