"""Decisions on a table and in a running network are the same for every sample, under any policy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aebnas.cost.counts import count_graph
from aebnas.policies.exit_table.decisions import exits_taken
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import sample_costs, score_policy
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_criteria import CRITERIA, LEARNED
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import MinExit, MinExitByClass, Patience, StopHeads
from aebnas.runtime.network import Network
from aebnas.runtime.threshold_rules import Coefficients, DifficultyBins, DifficultyOffset
from aebnas.space.lowering import lower
from aebnas.space.stop_heads import with_stop_heads

DIFFICULTY = Difficulty(0.3, (1.0, 0.5, 0.5))
OVERHEAD = 36_864
CLASSES = 3
CLOSE = 1e-4
"""Rounding of logits may differ with the batch: cases with a threshold this close to a score are not compared."""


@pytest.fixture(scope="module")
def four_exits(make_small, architectures):
    space = make_small("in_stage_sites")
    return next(a for a in architectures(space, 300) if len(a.exits) == 3)


def network_of(architecture, seed, randomise_module):
    return randomise_module(Network(with_stop_heads(lower(architecture))), seed).eval()


def table_of(network, x_nchw, alpha_n, temperatures=()):
    with torch.no_grad():
        outputs = network.outputs(x_nchw)
    table = ExitTable.from_logits(
        torch.stack(outputs.logits, 1),
        torch.zeros(len(x_nchw), dtype=torch.int64),
        [*CRITERIA, LEARNED],
        {"macs": count_graph(network.graph).macs},
        stop_logits_nk=torch.stack(outputs.stop_logits, 1),
        temperatures=temperatures,
    )
    return table.with_difficulty(DIFFICULTY, alpha_n.numpy(), {"macs": OVERHEAD})


shares = st.floats(0, 1).map(lambda value: round(value, 3))
factors = st.floats(0.5, 2).map(lambda value: round(value, 3))


@st.composite
def policies(draw, early=3):
    """Policies with any mixture of rules."""

    def row(values, length):
        return st.tuples(*[values] * length)

    kinds = [
        st.builds(Patience, st.integers(1, 3)),
        st.builds(StopHeads, row(shares, early)),
        st.builds(MinExit, st.integers(0, 2)),
        st.builds(MinExitByClass, row(st.integers(0, 3), CLASSES)),
        st.builds(Coefficients, row(row(factors, CLASSES) | row(factors, 1), early)),
        st.builds(DifficultyOffset, st.just(DIFFICULTY), shares),
        st.builds(DifficultyBins, st.just(DIFFICULTY), st.just((0.3, 0.6)), row(row(st.none() | shares, 3), early)),
    ]
    rules = tuple(draw(kind) for kind in kinds if draw(st.booleans()))
    temperatures = draw(st.just(()) | row(factors, early + 1))
    thresholds = draw(row(st.none() | shares, early))
    return ExitPolicy(draw(st.sampled_from([*CRITERIA, LEARNED])), thresholds, temperatures, rules)


def clear_cut(policy, table):
    """Whether no decision depends on rounding."""
    stop_heads = policy.find(StopHeads)
    for index, observation in enumerate(table.observe(policy)):
        if policy.runs(index):
            gap = (observation.score_n - policy.threshold(index, observation)).abs()
            if stop_heads is not None:
                gap = torch.minimum(gap, (observation.stop_n - stop_heads.thresholds[index]).abs())
            if gap.min() < CLOSE:
                return False
    return True


@settings(deadline=None, max_examples=25)
@given(policy=policies(), seed=st.integers(0, 4), samples=st.integers(1, 24))
def test_a_running_network_decides_as_the_table(four_exits, pixels, randomise_module, policy, seed, samples):
    network, x_nchw = network_of(four_exits, seed, randomise_module), pixels(four_exits, samples, seed)
    alpha_n = torch.rand(samples, generator=torch.Generator().manual_seed(seed))
    table = table_of(network, x_nchw, alpha_n, policy.temperatures)
    taken_n = table.exit_taken(policy)
    predicted = network.infer(x_nchw, policy, alpha_n)
    if clear_cut(policy, table):
        assert predicted.exit_index.tolist() == taken_n.tolist()
        assert predicted.logits.argmax(-1).tolist() == table.predicted_ne[np.arange(samples), taken_n].tolist()
        one_by_one = [
            int(network.infer(x[None], policy, a[None]).exit_index)
            for x, a in zip(x_nchw[:4], alpha_n[:4], strict=True)
        ]
        assert one_by_one == taken_n.tolist()[:4]
    assert all(policy.runs(index) for index in taken_n.tolist())


@settings(deadline=None, max_examples=20)
@given(policy=policies(), seed=st.integers(0, 4), index=st.integers(0, 2), higher=shares)
def test_with_a_higher_threshold_no_more_samples_leave_at_the_exit(
    four_exits, pixels, randomise_module, policy, seed, index, higher
):
    network, x_nchw = network_of(four_exits, seed, randomise_module), pixels(four_exits, 20, seed)
    table = table_of(network, x_nchw, torch.rand(20), policy.temperatures)
    old = policy.thresholds[index]
    if policy.find(DifficultyBins) or old is None or higher <= old:
        return
    values = [higher if number == index else value for number, value in enumerate(policy.thresholds)]
    raised = ExitPolicy.from_json(policy.to_json() | {"thresholds": values})
    assert (table.exit_taken(raised) == index).sum() <= (table.exit_taken(policy) == index).sum()
    if policy.difficulty is None:
        assert score_policy(table, raised).avg_macs >= score_policy(table, policy).avg_macs


def test_with_all_exits_never_it_is_the_full_network_under_any_rules(four_exits, pixels, randomise_module):
    network, x_nchw = network_of(four_exits, 0, randomise_module), pixels(four_exits, 9)
    table = table_of(network, x_nchw, torch.rand(9))
    rules = Patience(2), Coefficients(((0.5,),) * 3), StopHeads((0.0,) * 3)
    never = ExitPolicy("confidence", (None,) * 3, rules=rules)
    assert table.exit_taken(never).tolist() == [3] * 9
    assert score_policy(table, never).avg_macs == count_graph(network.graph).macs.to_exit(np.array([0, 0, 0, 1]))[-1]


def test_the_estimate_of_difficulty_is_charged_to_every_sample_of_a_policy_that_uses_it(
    four_exits, pixels, randomise_module
):
    network, x_nchw = network_of(four_exits, 1, randomise_module), pixels(four_exits, 9)
    table = table_of(network, x_nchw, torch.rand(9))
    plain = ExitPolicy("confidence", (0.5,) * 3)
    with_difficulty = plain.with_rules(DifficultyOffset(DIFFICULTY, 0.0))
    assert table.exit_taken(plain).tolist() == table.exit_taken(with_difficulty).tolist()
    assert score_policy(table, with_difficulty).avg_macs == pytest.approx(
        score_policy(table, plain).avg_macs + OVERHEAD
    )
    assert (sample_costs(table, with_difficulty) - sample_costs(table, plain)).tolist() == [OVERHEAD] * 9


def test_a_table_refuses_a_policy_that_uses_values_it_lacks(four_exits, pixels, randomise_module):
    network, x_nchw = network_of(four_exits, 0, randomise_module), pixels(four_exits, 3)
    table = table_of(network, x_nchw, torch.rand(3))
    other = Difficulty(0.4, (1.0, 1.0, 1.0))
    for policy, problem in (
        (ExitPolicy("confidence", (0.5,) * 3, rules=(DifficultyOffset(other, 0.3),)), "must hold the difficulty"),
        (ExitPolicy("confidence", (0.5,) * 3, temperatures=(2.0,) * 4), "same temperatures"),
        (ExitPolicy("confidence", (0.5,) * 2, rules=(Patience(2),)), "must be for 3 exits, but got 2"),
    ):
        with pytest.raises(ValueError, match=problem):
            table.exit_taken(policy)
    bare = ExitTable(table.scores, table.correct_ne, table.costs)
    with pytest.raises(ValueError, match="needs the classes predicted"):
        bare.exit_taken(ExitPolicy("confidence", (0.5,) * 3, rules=(Patience(2),)))
    with pytest.raises(ValueError, match="stop heads, but the network has none"):
        bare.exit_taken(ExitPolicy("confidence", (0.5,) * 3, rules=(StopHeads((0.5,) * 3),)))


def test_a_network_refuses_a_policy_that_uses_values_it_lacks(four_exits, pixels, random_network):
    network, x_nchw = random_network(four_exits), pixels(four_exits, 3)
    with pytest.raises(ValueError, match="images' difficulty"):
        network.infer(x_nchw, ExitPolicy("confidence", (0.5,) * 3, rules=(DifficultyOffset(DIFFICULTY, 0.3),)))
    with pytest.raises(ValueError, match="stop heads"):
        network.infer(x_nchw, ExitPolicy(LEARNED, (0.5,) * 3))


def test_in_a_network_without_early_exits_all_leave_at_the_only_exit():
    assert exits_taken(ExitPolicy("confidence", ()), [], 4).tolist() == [0] * 4
