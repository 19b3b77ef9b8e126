"""Costs of boosted networks, whose branches run whether samples may leave there or not, against plain simulations."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from made_up_device import OVERHEADS, made_up
from torch import nn

from aebnas.core.metrics import Constraint
from aebnas.cost.counts import count_graph
from aebnas.cost.exit_costs import ExitCosts, SampleCosts
from aebnas.cost.latency.hard_exit import nodes_to
from aebnas.cost.layer_population import counted
from aebnas.cost.live_tensors import recorded_peak
from aebnas.cost.memory import peak_memory
from aebnas.cost.model import CostModel
from aebnas.cost.truncation import cut_off, without_exits
from aebnas.evaluation.operating_points import provably_infeasible
from aebnas.policies.analysis.diagnostics import diagnose
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.exit_table.sample_costs import costs_of
from aebnas.policies.threshold_search.find import automatic
from aebnas.policies.threshold_search.threshold_problem import ThresholdProblem
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.architecture import Architecture
from aebnas.space.lowering import lower
from aebnas.space.stop_heads import with_stop_heads
from aebnas.strategies.strategy import Job

SPACES = ("boosted_or_not", "boosted", "boosted_dag", "boosted_dag_without_zero")


@pytest.fixture(scope="module", params=SPACES)
def space(request, make_small):
    return make_small(request.param)


@pytest.fixture(scope="module")
def drawn(space, architectures):
    """Boosted architectures of a space with at least two early exits."""
    return [a for a in dict.fromkeys(architectures(space, 80, seed=5)) if a.boosted and len(a.exits) > 1][:5]


def plain(architecture: Architecture, **changes) -> Architecture:
    parts = {name: getattr(architecture, name) for name in Architecture.model_fields}
    return Architecture(**parts | {"boosted": False} | changes)


def macs_run(network, x, policy):
    """MACs that run for one image, as hooks on the layers count them."""
    spent = []
    hooks = [
        layer.register_forward_hook(lambda m, _, out: spent.append(m.weight[0].numel() * out[0].numel()))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    network.infer(x, policy)
    for hook in hooks:
        hook.remove()
    return sum(spent)


def table_of(network, x):
    with torch.no_grad():
        logits_nec = torch.stack(network(x), 1)
    labels_n = torch.arange(len(x)) % logits_nec.shape[-1]
    return ExitTable.from_logits(logits_nec, labels_n, ["confidence"], {"macs": count_graph(network.graph).macs})


def test_average_macs_are_those_that_run_with_and_without_never_exits(drawn, random_network, pixels):
    for number, architecture in enumerate(drawn):
        network, x = random_network(architecture, number), pixels(architecture, 12, number)
        table = table_of(network, x)
        median_k = np.median(table.scores["confidence"], axis=0)[:-1].tolist()
        for never in ((), (0,), (1,), tuple(range(len(median_k)))):
            policy = ExitPolicy("confidence", tuple(None if k in never else m for k, m in enumerate(median_k)))
            spent = [macs_run(network, x[n : n + 1], policy) for n in range(len(x))]
            scored = score_policy(table, policy)
            assert scored.avg_macs == sum(spent) / len(x)
            # there are no stop heads, so nothing runs that a later exit doesn't need
            assert scored.avg_macs_taken_only == scored.avg_macs
            problem = ThresholdProblem.of(table, "confidence")
            row = np.array([[np.inf if t is None else t for t in policy.thresholds]], np.float32)
            found = problem.evaluate(row)
            assert (found.cost_t[0], found.cost_taken_only_t[0]) == (scored.avg_macs, scored.avg_macs)


def test_a_never_exits_stop_head_is_not_charged_but_its_branch_is(drawn):
    for architecture in drawn:
        graph = with_stop_heads(lower(architecture))
        exits, boosted = len(graph.exits), count_graph(graph).macs
        apart = count_graph(with_stop_heads(lower(plain(architecture)))).macs
        branches = count_graph(lower(plain(architecture))).macs.branch_e
        stops = [graph.shapes[e.site][0] for e in graph.exits[:-1]]  # a stop head is a linear layer of one output
        runs_e = np.arange(exits) == exits - 1
        assert boosted.to_exit(runs_e)[-1] == apart.backbone_e[-1] + sum(branches)
        assert boosted.to_exit()[-1] == apart.total == boosted.to_exit(runs_e)[-1] + sum(stops)
        for index in range(exits):
            own = stops[index] if index < exits - 1 else 0
            assert boosted.taken_only[index] == apart.backbone_e[index] + sum(branches[: index + 1]) + own
        assert boosted.total == apart.total and boosted.full == apart.full
        assert boosted.without_exits == apart.without_exits == apart.taken_only[-1]


def test_peak_memory_is_recorded_memory_with_never_exits(drawn, random_network, pixels):
    for architecture in drawn[:3]:
        network, exits = random_network(architecture), len(architecture.exits) + 1
        for policy in (
            ExitPolicy("margin", (None, *(1.0,) * (exits - 2))),
            ExitPolicy("margin", (None,) * (exits - 1)),
        ):
            counted_bytes = peak_memory(network.graph, [policy.runs(index) for index in range(exits)])
            assert counted_bytes[-1] == pytest.approx(recorded_peak(network, pixels(architecture, 1), policy), rel=0.05)


def test_latency_and_energy_charge_branches_always_and_decisions_where_samples_may_leave(space, drawn):
    profile = made_up(space.spec)
    model = CostModel(profile, stop_heads=True)
    graphs = [model.charged(lower(architecture)) for architecture in drawn]
    for graph, found in zip(graphs, model.exit_costs(graphs), strict=True):
        latency, runs_e = found["latency_ms"], np.arange(len(graph.exits)) == len(graph.exits) - 1
        only_last = sum(profile.cost_ms(key(graph, node)) for node in nodes_to(graph, len(graph.exits) - 1, runs_e))
        assert latency.to_exit(runs_e)[-1] == pytest.approx(
            only_last + OVERHEADS.ms_per_run + OVERHEADS.ms_per_decision, rel=1e-9
        )
        assert min(latency.branch_e) == pytest.approx(OVERHEADS.ms_per_decision)
        energy = found["energy_mj"]
        assert energy.without_exits < energy.to_exit(runs_e)[-1]
        if not dead_ends(graph):
            bare = without_exits(graph)
            assert latency.without_exits == pytest.approx(profile.latency(bare).to_exit()[0])
            assert energy.without_exits == pytest.approx(profile.energy.energy(bare).to_exit()[0])
        by_sample = costs_of(graph, {"": np.zeros(3, int)}, *profile.additive_latency)
        assert by_sample.backbone_ne[0] == pytest.approx(np.array(latency.backbone_e))
        assert by_sample.branch_ne[0] == pytest.approx(np.array(latency.branch_e))
        assert by_sample.summed_branches == pytest.approx(latency.summed_branches)


def dead_ends(graph):
    """Nodes of a DAG that lead to early exits only; they are backbone, but absent without these exits."""
    return {n.name for s in graph.segments() for n in s.backbone} - graph.ancestors(graph.exits[-1].site)


def key(graph, node):
    return node.op, tuple(graph.shapes[name] for name in node.inputs), node.attrs


def test_costs_that_depend_on_the_sample_keep_their_part_without_exits():
    rng = np.random.default_rng(0)
    costs = SampleCosts(np.cumsum(rng.random((4, 3)), 1), rng.random((4, 3)), 0.25)
    for same in (costs.plus(1.0), costs.rows(np.arange(2))):
        assert same.summed_branches == 0.25
    assert costs.without_exits == pytest.approx(costs.taken_only_ne[:, -1].mean() - 0.25)
    assert ExitCosts((1, 5), (1, 1), 2).plus(3) == ExitCosts((4, 8), (1, 1), 2)


def test_networks_cut_off_after_an_exit_run_what_its_samples_run(drawn):
    for architecture in drawn:
        graph = with_stop_heads(lower(architecture))
        macs, exits = count_graph(graph).macs, len(graph.exits)
        for leave in range(exits):
            assert count_graph(cut_off(graph, leave)).macs.to_exit()[-1] == macs.to_exit()[leave]
            alone = count_graph(cut_off(graph, leave, only_branch=True)).macs
            assert alone.to_exit()[0] <= macs.taken_only[leave]
        bare = without_exits(graph)
        assert len(bare.exits) == 1 and not bare.boosted
        if not dead_ends(graph):
            assert set(bare.nodes) == set(with_heads_of(graph, lower(plain(architecture, exits=()))))


def with_heads_of(graph, bare):
    """The nodes of a bare graph, with the weights keys of the boosted one: their classifiers share no weights."""
    known = {node.name: node for node in graph.nodes}
    return [replace(node, weights=known[node.name].weights) for node in bare.nodes]


def test_threshold_search_finds_no_saving_in_switching_exits_off(drawn, random_network, pixels):
    """Every point of the frontier costs what the network spends; none is below the cheapest that can run."""
    for number, architecture in enumerate(drawn[:2]):
        network = random_network(architecture, number)
        table = table_of(network, pixels(architecture, 60, number))
        found = automatic(ThresholdProblem.of(table, "confidence"), 6)
        for point in found.points:
            assert score_policy(table, point.policy).avg_macs == point.cost
        assert found.points[0].cost >= count_graph(network.graph).macs.backbone_e[0]


def test_pruning_cuts_off_no_point_that_some_policy_reaches(drawn, random_network, pixels):
    for number, architecture in enumerate(drawn[:3]):
        table = table_of(random_network(architecture, number), pixels(architecture, 12, number))
        exits, job = len(architecture.exits) + 1, Job(architecture, None, "")
        reached = [
            score_policy(table, ExitPolicy("confidence", thresholds)).avg_macs
            for thresholds in product((0.0, None), repeat=exits - 1)
        ]
        cheapest = min(reached)
        for metric in ("avg_macs", "avg_macs_taken_only"):
            kept, refused = (Constraint(metric, "<=", bound) for bound in (cheapest, cheapest - 1))
            assert provably_infeasible([job], [kept], CostModel()) == [None]
            assert provably_infeasible([job], [refused], CostModel()) != [None]
        # where the first exit is never, its branch is part of what the second one costs at least
        later = Job(architecture, ExitPolicy("confidence", (None, *(0.0,) * (exits - 2))), "")
        macs = count_graph(lower(architecture)).macs
        bounds = [Constraint("avg_macs_taken_only", "<=", macs.backbone_e[1] - less) for less in (0, 1)]
        assert [provably_infeasible([later], [bound], CostModel()) == [None] for bound in bounds] == [True, False]


def test_diagnoses_compare_with_the_backbone_and_do_not_advise_never(drawn, random_network, pixels):
    network = random_network(drawn[0])
    table = table_of(network, pixels(drawn[0], 8))
    policy = ExitPolicy("confidence", (1.0,) * len(drawn[0].exits))
    sentences = "\n".join(diagnose(table, policy))
    without = count_graph(lower(plain(drawn[0], exits=()))).macs.total
    assert f"the backbone without branches {without:.4g}" in sentences
    assert "never is cheaper" not in sentences


def test_sums_of_logits_have_no_macs(drawn):
    graph = lower(drawn[0])
    assert all(counted(lambda c: c.macs)(key(graph, n)) == 0 for n in graph.nodes if n.op == "boost")
