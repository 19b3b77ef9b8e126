"""Finding the policies that a space specifies: every rule and method; policies score on their table as stated."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from random_tables import random_costs, random_table

from aebnas.cost.exit_costs import ExitCosts, SampleCosts
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.threshold_search import joint_grid as grid_module
from aebnas.policies.threshold_search.find import METHODS, find
from aebnas.policies.threshold_search.min_exit import with_min_exit
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import MinExitByClass, Patience
from aebnas.space.min_exits import MinExits
from aebnas.space.policy_spec import OptimiseSpec, PolicySpec

CRITERIA = ("margin", "entropy")
ACCURACIES = ("accuracy", "balanced_accuracy")
RULES = ("confidence", "entropy", "margin", "learned", "patience", "dual")


def lifelike_table(samples=150, exits=4, classes=4, seed=0) -> ExitTable:
    """Later exits are better, stop heads are informative, costs are random."""
    generator = torch.Generator().manual_seed(seed)
    labels_n = torch.randint(0, classes, (samples,), generator=generator)
    logits_nec = torch.randn(samples, exits, classes, generator=generator)
    logits_nec[torch.arange(samples), :, labels_n] += torch.linspace(0.5, 3, exits)
    right_nk = logits_nec.argmax(-1)[:, :-1] == labels_n[:, None]
    stop_nk = right_nk * 2.0 - 1.0 + torch.randn(samples, exits - 1, generator=generator)
    costs = {"macs": random_costs(exits, np.random.default_rng(seed))}
    return ExitTable.from_logits(
        logits_nec, labels_n, ("confidence", "entropy", "margin", "learned"), costs, stop_logits_nk=stop_nk
    )


def optimise(per_exit=8, **changes) -> OptimiseSpec:
    return OptimiseSpec.model_validate({"per_exit": per_exit} | changes)


def policy(*criteria, **changes) -> PolicySpec:
    return PolicySpec.model_validate({"criterion": criteria} | changes)


def best_goals(found):
    """The best J of a frontier for several trade-offs: frontiers with equal ones are equally good."""
    betas = np.linspace(0, 2, 21)
    bests = [(beta, found.best_for(beta)) for beta in betas]
    return [best.accuracy - beta * best.cost / found.full_cost for beta, best in bests]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rule", RULES)
def test_policies_score_on_their_table_as_stated(rule, method):
    table = lifelike_table()
    by_class = MinExits(1, (1, 3, 2, 1))
    spec = policy(rule, stop_thresholds=[0.1, 0.5], patience=[2, 3])
    for min_exits in (MinExits(), MinExits(1), by_class):
        found = find(table, spec, optimise(method=method), min_exits)
        for point in found.points:
            figures = score_policy(table, point.policy)
            assert figures.accuracy == pytest.approx(point.accuracy) and figures.avg_macs == pytest.approx(point.cost)
            taken = table.exit_taken(point.policy)
            assert taken.min() >= min_exits.all
            if min_exits.by_class:
                class_n = table.predicted_ne[np.arange(table.samples), taken]
                assert (taken >= np.array(min_exits.by_class)[class_n]).all()


def test_a_minimum_depth_is_searched_exactly():
    """Against brute force over the policies with the rule."""
    table, min_exits = lifelike_table(60, 3), MinExits(0, (0, 1, 2, 0))
    found = find(table, policy("margin"), optimise(4, method="joint"), min_exits)
    masked = with_min_exit(ThresholdProblem.of(table, "margin"), table, min_exits)
    for values in product(*grid_module.candidates(masked, 4)):
        vector = tuple(None if np.isinf(value) else float(value) for value in values)
        figures = score_policy(table, ExitPolicy("margin", vector, rules=(MinExitByClass(min_exits.by_class),)))
        assert found.within(figures.avg_macs).accuracy >= figures.accuracy


def test_patience_is_the_best_of_all_sets_of_exits():
    table = lifelike_table(80, 4)
    found = find(table, policy("patience", patience=[2, 3]), optimise())
    for running, agree in product(product((0.0, None), repeat=3), (2, 3)):
        figures = score_policy(table, ExitPolicy("confidence", running, rules=(Patience(agree),)))
        assert found.within(figures.avg_macs).accuracy >= figures.accuracy
    many = find(lifelike_table(40, 15), policy("patience"), optimise())
    assert all(point.policy.find(Patience) == Patience(2) for point in many.points)


def test_joint_is_never_worse_than_greedy_and_lagrangian_is_as_good():
    table = lifelike_table()
    joint = best_goals(find(table, policy("confidence"), optimise(30, method="joint")))
    greedy = best_goals(find(table, policy("confidence"), optimise(30, method="greedy")))
    lagrangian = best_goals(find(table, policy("confidence"), optimise(30, method="lagrangian")))
    assert all(j >= g - 1e-9 for j, g in zip(joint, greedy, strict=True))
    assert lagrangian == pytest.approx(joint)


def test_criteria_share_one_frontier():
    table = random_table(100, 3, 0)
    whole = find(table, policy(*CRITERIA), optimise())
    assert {point.policy.criterion for point in whole.points} == set(CRITERIA)
    for criterion in CRITERIA:
        for point in find(table, policy(criterion), optimise()).points:
            assert whole.within(point.cost).accuracy >= point.accuracy


def test_problems_too_large_for_a_grid_are_searched(monkeypatch):
    table = random_table(60, 3, 0)
    exact = find(table, policy(*CRITERIA), optimise())
    monkeypatch.setattr(grid_module, "MAX_COMBINATIONS", 99)
    found = find(table, policy(*CRITERIA), optimise())
    assert found.points[0] == exact.points[0]
    assert found.points[-1].accuracy == exact.points[-1].accuracy
    assert best_goals(found) == pytest.approx(best_goals(exact))


def test_any_cost_metric():
    table = random_table(50, 3, 0)
    rng = np.random.default_rng(0)
    latency = SampleCosts(np.cumsum(rng.random((50, 3)), 1), rng.random((50, 3)))
    table = ExitTable(table.scores, table.correct_ne, {**table.costs, "latency_ms": latency})
    for metric in table.costs:
        for point in find(table, policy("margin"), optimise(6), cost=metric).points:
            assert score_policy(table, point.policy).mean_cost[metric] == pytest.approx(point.cost)
    with pytest.raises(ValueError, match="the cost must be one of macs, latency_ms, but got 'energy_mj'"):
        find(table, policy("margin"), optimise(), cost="energy_mj")


def test_one_exit_gives_one_point():
    table = random_table(10, 1, 0)
    (point,) = find(table, policy(*CRITERIA), optimise()).points
    assert point.policy == ExitPolicy("margin", ())
    assert point.accuracy == pytest.approx(table.correct_ne.mean())


def test_a_rule_that_requires_stop_heads_is_refused_without_them():
    table = random_table(10, 3, 0)
    table = ExitTable(
        {"confidence": table.scores["margin"]}, table.correct_ne, {"macs": ExitCosts((1, 2, 3), (0,) * 3)}
    )
    with pytest.raises(ValueError, match="the dual rule requires stop heads"):
        find(table, policy("dual"), optimise())


def unbalanced_table(seed=0) -> ExitTable:
    """One class in eight samples of nine, which the early exit knows; the other, which only the last exit knows."""
    rng = np.random.default_rng(seed)
    labels_n = (np.arange(180) % 9 == 0).astype(int)
    early_n = np.where(labels_n == 0, rng.random(180) < 0.99, rng.random(180) < 0.2)
    last_n = rng.random(180) < 0.88
    correct_ne = np.stack([early_n, last_n], 1)
    score_n = rng.uniform(0.5, 1, 180)
    scores_ne = np.stack([score_n, np.ones(180)], 1).astype(np.float32)
    predicted_ne = np.where(correct_ne, labels_n[:, None], 1 - labels_n[:, None])
    costs = {"macs": ExitCosts((10, 100), (1, 1))}
    return ExitTable({"confidence": scores_ne}, correct_ne, costs, labels_n, predicted_ne)


@pytest.mark.parametrize("method", METHODS)
def test_thresholds_for_balanced_accuracy_are_found_by_every_method(method):
    """Points state the table's balanced accuracy, and within a budget none for accuracy is better in it."""
    table, spec = unbalanced_table(), PolicySpec()
    plain, balanced = (
        find(table, spec, optimise(per_exit=20, method=method), accuracy=accuracy) for accuracy in ACCURACIES
    )
    for point in balanced.points:
        assert point.accuracy == pytest.approx(score_policy(table, point.policy).balanced_accuracy)
    if method in ("auto", "joint", "lagrangian"):
        for point in plain.points:
            reached = score_policy(table, point.policy).balanced_accuracy
            assert balanced.within(point.cost).accuracy >= reached - 1e-9
        gain = balanced.points[-1].accuracy - score_policy(table, plain.points[-1].policy).balanced_accuracy
        assert gain > 0.02


def test_patience_for_balanced_accuracy():
    table = lifelike_table()
    found = find(table, PolicySpec(criterion=("patience",)), optimise(), accuracy="balanced_accuracy")
    for point in found.points:
        assert point.accuracy == score_policy(table, point.policy).balanced_accuracy


@pytest.mark.parametrize("method", METHODS)
def test_with_classes_of_equal_size_both_accuracies_give_the_same_policies(method):
    table = replace(lifelike_table(samples=160), labels_n=np.arange(160) % 4)
    plain, balanced = (
        find(table, PolicySpec(criterion=CRITERIA), optimise(method=method), accuracy=accuracy)
        for accuracy in ACCURACIES
    )
    assert [point.policy for point in plain.points] == [point.policy for point in balanced.points]


def test_balanced_accuracy_requires_labels():
    with pytest.raises(ValueError, match="balanced_accuracy requires labels in the table, but it has none"):
        find(random_table(9, 2, 0), PolicySpec(criterion="margin"), optimise(), accuracy="balanced_accuracy")
