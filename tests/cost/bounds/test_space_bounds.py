"""Bounds of a space, compared with enumeration."""

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


@pytest.fixture(scope="module")
def architectures_of(small, everything):
    """All architectures of a small space."""
    return list({candidate.architecture for candidate in everything(small)})


@pytest.fixture(scope="module", params=[False, True], ids=["", "stop heads"])
def graphs(request, architectures_of):
    """Graphs of all architectures of a small space, without and with stop heads, and which of the two."""
    costs = CostModel(stop_heads=request.param)
    return [costs.charged(lower(architecture)) for architecture in architectures_of], request.param


@pytest.fixture(scope="module")
def counts(graphs):
    return [count_graph(graph) for graph in graphs[0]], graphs[1]


@pytest.mark.parametrize("cost", MEASURES)
def test_bounds_equal_enumeration(small, counts, cost):
    measure, (counted, stop_heads) = MEASURES[cost], counts
    found = [measure(one) for one in counted]
    bounds = space_bounds(small.spec, measure, stop_heads)
    assert bounds.lower == min(costs.total for costs in found)
    assert bounds.upper == max(costs.total for costs in found)
    # the cheapest exit: all exits before it are `never`
    assert bounds.first_exit == min(costs.taken_only.min() for costs in found)


def test_the_last_exit_may_be_the_cheapest(make_small):
    costs = count_graph(lower(make_small("costly_branch").decode(()).architecture)).macs
    assert costs.taken_only[1] < costs.taken_only[0]
    assert space_bounds(make_small("costly_branch").spec, MEASURES["macs"]).first_exit == costs.taken_only[1]


def test_random_architectures_of_bundled_spaces_are_within_bounds(bundled, architectures):
    bounds = {cost: space_bounds(bundled.spec, measure) for cost, measure in MEASURES.items()}
    for architecture in [*architectures(bundled, 100), bundled.extreme(True), bundled.extreme(False)]:
        counts = count_graph(lower(architecture))
        for cost, measure in MEASURES.items():
            costs = measure(counts)
            assert bounds[cost].lower <= costs.total <= bounds[cost].upper, cost
            assert bounds[cost].first_exit <= costs.taken_only.min(), cost


def test_bounds_of_latency_and_energy_equal_enumeration(small, graphs):
    profile, (graphs, stop_heads) = made_up(small.spec), graphs
    for bounds, found in [
        (latency_bounds(small.spec, profile.additive_latency, stop_heads), profile.latencies(graphs)),
        (energy_bounds(small.spec, profile.energy, stop_heads), profile.energy.energies(graphs)),
    ]:
        assert bounds.lower == pytest.approx(min(costs.total for costs in found))
        assert bounds.upper == pytest.approx(max(costs.total for costs in found))
        assert bounds.first_exit == pytest.approx(min(costs.taken_only.min() for costs in found))


def test_no_network_has_less_peak_memory_than_the_bound(small, graphs):
    """The bound is that of networks without stop heads; with them none has less."""
    (built, stop_heads), bound = graphs, min_peak_memory(small.spec)
    minimum = min(int(peak_memory(graph)[-1]) for graph in built)
    assert bound <= minimum and (stop_heads or 0.5 * minimum < bound)
