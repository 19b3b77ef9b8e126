"""What the latency benchmarks make of their tables, and how they score."""

import importlib.util
import json

import numpy as np
import pytest

from aebnas.cost.counts import count_graph


def load(root, name):
    spec = importlib.util.spec_from_file_location(name, root / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def predictor(root):
    return load(root, "latency_predictor")


def test_once_for_all_subnets(predictor):
    def graph(depth, expand, side):
        text = {"ks": [3] * 20, "e": [expand] * 20, "d": [depth] * 5, "r": side}
        return predictor.ofa_graph(json.dumps(text))

    small, large = graph(2, 3, 128), graph(4, 6, 224)
    assert [sum(node.op == "mbconv" for node in g.nodes) for g in (small, large)] == [11, 21]
    assert small.shapes["widen"] == (960, 4, 4) and large.shapes["widen"] == (960, 7, 7)
    # MobileNetV3-Large has 219 million MACs with less expansion and depth than the largest subnet
    assert count_graph(small).macs.total < 219e6 < count_graph(large).macs.total


def test_nas_bench_201_cells(predictor):
    cell = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
    found = predictor.nb201_features(cell)
    # node 2 leads nowhere, so its convolution is dead; the pool behind the first one is not
    assert found["nor_conv_1x1"] == 1 and "nor_conv_1x1 alive" not in found
    assert found["nor_conv_3x3 alive"] == found["avg_pool_3x3 alive"] == found["skip_connect alive"] == 1
    assert found["longest"] == 2 and found["connected"] == 1
    cells = 5 * (16 * 16 * 32 * 32 + 32 * 32 * 16 * 16 + 64 * 64 * 8 * 8)
    assert found["macs"] == (9 + 1) * cells
    assert predictor.nb201_features("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")["connected"] == 0


def test_scores(predictor):
    measured = np.array([1.0, 2.0, 4.0, 8.0])
    assert predictor.score(measured * [1.04, 1.09, 0.97, 1.3], measured) == pytest.approx([0.5, 0.75, 1.0])


def test_held_out_networks_are_new_and_measured_twice(root, digits):
    model = load(root, "latency_model")
    own = model.held_out(digits, 5, set())
    others = model.held_out(digits, 5, {json.dumps(network["graph"]) for network in own})
    assert not {json.dumps(n["graph"]) for n in own} & {json.dumps(n["graph"]) for n in others}
    profile = {"layers": [0] * 3, "networks": own * 2 + [0, 0]}
    kept, times, held = model.split(profile, [[float(i)] * 3 for i in range(15)], 5)
    assert len(kept["networks"]) == 2 and len(times) == 5
    assert held.tolist() == [[5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert model.report("ours", np.array([1.1, 1.8]), np.array([1.0, 2.0])) == pytest.approx((10.0, 1.0))
