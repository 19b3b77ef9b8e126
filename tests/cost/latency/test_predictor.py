"""The learned predictor on simulated devices of known latency."""

import numpy as np
import pytest

from aebnas.cost.latency.predictor import LatencyPredictor, feature_matrix, graph_features
from aebnas.space.lowering import lower


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).uniform(0.2, 2.0, (700, 8))


def slow_device(x):
    return 3 + x @ np.arange(1, 9) + 2 * x[:, 0] * x[:, 1]


def within(predicted, measured, tolerance=0.1):
    return (np.abs(predicted / measured - 1) <= tolerance).mean()


def test_a_hundred_samples_suffice(features):
    truth = slow_device(features)
    model = LatencyPredictor().fit(features[:100], truth[:100])
    assert within(model.predict(features[100:]), truth[100:], 0.05) > 0.98


def test_disturbed_measurements_have_little_influence(features):
    truth = slow_device(features)
    measured = truth * (1 + 0.01 * np.random.default_rng(1).standard_normal(len(truth)))
    measured[::6] *= 1.6
    model = LatencyPredictor().fit(features[:150], measured[:150])
    assert within(model.predict(features[150:]), truth[150:], 0.05) > 0.95


def test_with_other_devices_few_samples_suffice(features):
    truth, seen = slow_device(features) ** 1.1, slice(0, 15)
    others = np.column_stack([slow_device(features), features.sum(1)])
    unaided = LatencyPredictor().fit(features[seen], truth[seen])
    helped = LatencyPredictor().fit(features[seen], truth[seen], others[seen])
    right = within(helped.predict(features[15:], others[15:]), truth[15:], 0.05)
    assert right > within(unaided.predict(features[15:]), truth[15:], 0.05)
    assert right > 0.95


def test_the_range_covers_most_and_widens_for_dissimilar_networks(features):
    truth = slow_device(features)
    measured = truth * np.exp(0.05 * np.random.default_rng(2).standard_normal(len(truth)))
    model = LatencyPredictor().fit(features[:200], measured[:200])
    found = model.predict_range(features[200:])
    inside = (found.low_ms <= measured[200:]) & (measured[200:] <= found.high_ms)
    assert 0.88 < inside.mean() < 1.0
    far = model.predict_range(features[200:] * 4)
    assert np.median(far.high_ms / far.low_ms) > np.median(found.high_ms / found.low_ms)
    assert found.latency_ms == pytest.approx(model.predict(features[200:]))


def test_too_few_or_invalid_samples_are_refused(features):
    model = LatencyPredictor()
    with pytest.raises(ValueError, match="samples must be at least 10"):
        model.fit(features[:5], np.ones(5))
    with pytest.raises(ValueError, match="latencies positive"):
        model.fit(features[:20], np.zeros(20))


def test_features_of_graphs(digits, architectures):
    graphs = [lower(architecture) for architecture in architectures(digits, 60)]
    rows = [graph_features(graph) for graph in graphs]
    matrix = feature_matrix(rows)
    names = sorted({name for row in rows for name in row})
    assert matrix.shape == (60, len(names)) and np.isfinite(matrix).all()
    assert rows[0]["nodes"] == len(graphs[0].nodes)
    assert rows[0]["exits"] == len(graphs[0].exits)
    # a network with a feature that others lack has 0 there in a matrix of their columns
    assert feature_matrix([{"b": 2.0}], ["a", "b"]).tolist() == [[0.0, 2.0]]
    macs = matrix[:, names.index("macs")]
    model = LatencyPredictor().fit(matrix[:50], 1 + macs[:50] / 1e5)
    assert within(model.predict(matrix[50:]), 1 + macs[50:] / 1e5, 0.2) == 1
