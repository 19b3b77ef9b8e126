"""Overheads and estimates from simulated measurements of known overheads."""

import numpy as np
import pytest

from aebnas.cost.latency.device_profile import LayerTime, Overheads
from aebnas.cost.latency.fitting import estimates, fit_overheads
from aebnas.space.layers import space_layers


def test_overheads_are_recovered(rng):
    truth = Overheads(scale=1.2, ms_per_node=0.01, ms_per_decision=0.05, ms_per_weight_mb=0.4, ms_per_run=0.1)
    columns = [rng.uniform(0.5, 3, 80), rng.integers(4, 20, 80), rng.integers(1, 6, 80), rng.uniform(0, 2, 80)]
    rows = np.column_stack([*columns, np.ones(80)])
    measured = rows @ np.array(truth)
    disturbed = measured.copy()
    disturbed[::10] *= 5  # another process ran meanwhile
    found, fit = fit_overheads(rows, measured)
    assert found == pytest.approx(truth, abs=1e-3)
    assert fit["left_out_mape_percent"] < 0.1
    assert fit_overheads(rows, disturbed)[0] == pytest.approx(truth, abs=0.1)


def test_no_overhead_is_negative(rng):
    rows = np.column_stack([rng.uniform(1, 2, 40), rng.integers(4, 20, 40), np.ones((40, 3))])
    found, _ = fit_overheads(rows, rows[:, 0] * 2 - 0.01 * rows[:, 1])
    assert min(found) >= 0 and found.ms_per_node == 0 and found.scale == pytest.approx(1.92, abs=0.01)


def test_with_too_few_networks_latency_is_a_plain_sum():
    assert fit_overheads(np.ones((9, 5)), np.ones(9)) == (Overheads(), {"networks": 9.0})


def test_unmeasured_layers_are_estimated_from_the_others(digits):
    keys = sorted({(layer.op, (layer.in_shape,), layer.attrs) for layer in space_layers(digits.spec)}, key=repr)
    truth = {key: LayerTime(1e-3 * (1 + key[1][0][0]) * (1 + key[1][0][1]), 0.0) for key in keys}
    known = {key: truth[key] for key in keys[::2]}
    unmeasured = keys[1::2]
    found = estimates(unmeasured, known)
    assert all(timed.estimated for timed in found.values())
    errors = [abs(found[key].ms / truth[key].ms - 1) for key in unmeasured]
    assert np.median(errors) < 0.2
    assert estimates([], known) == {}
