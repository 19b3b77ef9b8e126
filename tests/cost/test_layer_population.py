"""A population's additive costs, compared with sums over each graph."""

import numpy as np
import pytest
from made_up_device import OVERHEADS, made_up

from aebnas.cost.counts import count_graph, count_layer
from aebnas.cost.latency.device_profile import weight_mb
from aebnas.cost.layer_population import Population, layer_key, out_shape
from aebnas.space.lowering import lower


def test_costs_of_a_population_equal_those_of_its_graphs(small, architectures):
    graphs = [lower(architecture) for architecture in architectures(small, 30)]
    profile = made_up(small.spec)

    def node_ms(graph, node):
        key = layer_key(graph, node)
        return OVERHEADS.scale * profile.layers[key].ms + OVERHEADS.ms_per_node + 0.5 * weight_mb(key)

    for graph, found in zip(graphs, profile.latencies(graphs), strict=True):
        so_far, backbone, branch = OVERHEADS.ms_per_run, [], []
        for step in graph.schedule():
            so_far += sum(node_ms(graph, node) for node in step.always)
            backbone.append(so_far)
            branch.append(OVERHEADS.ms_per_decision + sum(node_ms(graph, node) for node in step.optional))
        assert found.backbone_e == pytest.approx(backbone)
        assert found.branch_e == pytest.approx(branch)


def test_each_distinct_layer_is_looked_up_once(digits, architectures):
    graphs = [lower(architecture) for architecture in architectures(digits, 20)]
    population = Population.of([*graphs, *graphs])
    assert len(set(population.layers)) == len(population.layers) < len(population.layer_i)
    macs = [count_layer(key[0], key[1][0], out_shape(key), dict(key[2])).macs for key in population.layers]
    exact = [count_graph(graph).macs for graph in graphs]
    assert [costs.backbone_e for costs in population.costs(macs)] == [c.backbone_e for c in exact] * 2
    assert [costs.branch_e for costs in population.costs(macs)] == [c.branch_e for c in exact] * 2


def test_a_batch_is_shared_by_its_samples(digits, architectures):
    graph = lower(architectures(digits, 1)[0])
    one = made_up(digits.spec)
    eight = made_up(digits.spec, setting=one.setting | {"batch": 8})
    assert np.array(eight.latency(graph).to_exit()) == pytest.approx(one.latency(graph).to_exit() / 8)
