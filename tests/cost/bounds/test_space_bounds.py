"""Bounds of a space against enumeration."""

import pytest
from made_up_device import made_up

from aebnas.cost.bounds.memory_bounds import min_peak_memory
from aebnas.cost.bounds.space_bounds import energy_bounds, latency_bounds, space_bounds
from aebnas.cost.counts import count_graph
from aebnas.cost.memory import peak_memory
from aebnas.cost.model import CostModel
from aebnas.space.lowering import lower

MEASURES = {
    "macs": lambda counts: counts.macs,
    "params": lambda counts: counts.params,
    "weight_bytes": lambda counts: counts.weight_bytes,
}


@pytest.mark.parametrize("stop_heads", [False, True], ids=["", "stop heads"])
@pytest.mark.parametrize("cost", MEASURES)
def test_bounds_equal_enumeration(small, everything, cost, stop_heads):
    measure, costs = MEASURES[cost], CostModel(stop_heads=stop_heads)
    graphs = [costs.charged(lower(architecture)) for architecture in {c.architecture for c in everything(small)}]
    found = [measure(count_graph(graph)) for graph in graphs]
    bounds = space_bounds(small.spec, measure, stop_heads)
    assert bounds.lower == min(costs.total for costs in found)
    assert bounds.upper == max(costs.total for costs in found)
    # the cheapest answer anybody can get: all exits before it `never`
    assert bounds.first_exit == min(costs.taken_only.min() for costs in found)


def test_the_last_exit_may_be_the_cheapest(make_small):
    costs = count_graph(lower(make_small("costly_branch").decode(()).architecture)).macs
    assert costs.taken_only[1] < costs.taken_only[0]
    assert space_bounds(make_small("costly_branch").spec, MEASURES["macs"]).first_exit == costs.taken_only[1]


@pytest.mark.parametrize("cost", MEASURES)
def test_random_architectures_of_bundled_spaces_lie_within(bundled, architectures, cost):
    measure = MEASURES[cost]
    bounds = space_bounds(bundled.spec, measure)
    for architecture in [*architectures(bundled, 100), bundled.extreme(True), bundled.extreme(False)]:
        costs = measure(count_graph(lower(architecture)))
        assert bounds.lower <= costs.total <= bounds.upper
        assert bounds.first_exit <= costs.taken_only.min()


@pytest.mark.parametrize("stop_heads", [False, True], ids=["", "stop heads"])
def test_bounds_of_latency_and_energy_equal_enumeration(small, everything, stop_heads):
    profile, costs = made_up(small.spec), CostModel(stop_heads=stop_heads)
    graphs = [costs.charged(lower(architecture)) for architecture in {c.architecture for c in everything(small)}]
    for bounds, found in [
        (latency_bounds(small.spec, profile.additive_latency, stop_heads), profile.latencies(graphs)),
        (energy_bounds(small.spec, profile.energy, stop_heads), profile.energy.energies(graphs)),
    ]:
        assert bounds.lower == pytest.approx(min(costs.total for costs in found))
        assert bounds.upper == pytest.approx(max(costs.total for costs in found))
        assert bounds.first_exit == pytest.approx(min(costs.taken_only.min() for costs in found))


def test_no_network_needs_less_memory_than_the_bound(small, everything):
    graphs = [lower(architecture) for architecture in {c.architecture for c in everything(small)}]
    least = min(int(peak_memory(graph)[-1]) for graph in graphs)
    bound = min_peak_memory(small.spec)
    assert 0.5 * least < bound <= least
    headed = [CostModel(stop_heads=True).charged(graph) for graph in graphs]
    assert bound <= min(int(peak_memory(graph)[-1]) for graph in headed)
