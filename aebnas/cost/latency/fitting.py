"""Makes a device profile from measurements: layer times, and overheads fitted to whole networks."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from aebnas.core.errors import UserError
from aebnas.cost.counts import count_layer
from aebnas.cost.latency.device_profile import DeviceProfile, LayerTime, Overheads, weight_mb
from aebnas.cost.latency.measured_device import DifficultyTime
from aebnas.cost.latency.rounds import subjects
from aebnas.cost.layer_population import as_key, layer_key
from aebnas.runtime.graph import Graph
from aebnas.runtime.op import LayerKey
from aebnas.runtime.ops import OPS

FOLDS = 5
HUBER_SCALE = 0.05
"""Relative errors up to this have a quadratic loss, larger ones a linear loss."""


def make_profile(result: dict[str, Any], source: str) -> DeviceProfile:
    """The profile of a finished job (`stopwatch.result`); raises UserError for anything else."""
    try:
        job, times = result["job"], result["times_ms"]
        if len(times) != subjects(job):
            raise UserError(f"{source}: must hold a time for every layer and network, but got {len(times)}")
        layers = {as_key(layer): _timed(rounds) for layer, rounds in zip(job["layers"], times, strict=False)}
        layers |= estimates([as_key(layer) for layer in job["left_out"]], layers)
        networks = [(Graph.from_json(subject["graph"]), subject["leave"]) for subject in job["networks"]]
        measured_ms = np.array([_timed(rounds).ms for rounds in network_times(result)])
        about = {name: result[name] for name in ("device", "libraries", "date")}
        sums = DeviceProfile(
            setting=job["setting"],
            **about,
            rounds=job["rounds"],
            difficulty=measured_difficulty(result),
            layers=layers,
            overheads=Overheads(),
            fit={},
            source=source,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{source}: must be what measure.py wrote, but got another file ({error!r})") from None
    rows = np.array([network_row(sums, graph, leave) for graph, leave in networks]).reshape(-1, len(Overheads()))
    overheads, fit = fit_overheads(rows, measured_ms)
    return replace(sums, overheads=overheads, fit=fit)


def network_times(result: dict[str, Any]) -> list[list[float]]:
    """The times of a finished job's whole networks, in ms by network and round."""
    layers, networks = len(result["job"]["layers"]), len(result["job"]["networks"])
    return result["times_ms"][layers : layers + networks]


def measured_difficulty(result: dict[str, Any]) -> DifficultyTime | None:
    """The time of estimating an image's difficulty in a finished job; None where it wasn't measured."""
    image = result["job"].get("image")
    if image is None:
        return None
    timed = _timed(result["times_ms"][-1])
    return DifficultyTime((image[0], image[1], image[2]), timed.ms, timed.spread_ms)


def network_row(profile: DeviceProfile, graph: Graph, leave: int) -> list[float]:
    """The factors of the fields of Overheads for a sample that leaves at exit `leave`."""
    segments = graph.segments()[: leave + 1]
    nodes = [node for segment in segments for part in segment for node in part]
    keys = [layer_key(graph, node) for node in nodes]
    return [sum(map(profile.layer_ms, keys)), len(nodes), len(segments), sum(map(weight_mb, keys)), 1.0]


def fit_overheads(rows: np.ndarray, measured_ms: np.ndarray) -> tuple[Overheads, dict[str, float]]:
    """Non-negative robust regression on relative errors; `rows` as returned by `network_row`.

    With too few networks there are no overheads. The second value states their number and the mean absolute error on
    networks left out of the fit, in percent.
    """
    if len(rows) < 2 * len(Overheads()):
        return Overheads(), {"networks": float(len(rows))}
    folds = np.arange(len(rows)) % FOLDS
    errors = np.empty(len(rows))
    for fold in range(FOLDS):
        out = folds == fold
        errors[out] = rows[out] @ _solve(rows[~out], measured_ms[~out]) / measured_ms[out] - 1.0
    return Overheads(*map(float, _solve(rows, measured_ms))), {
        "networks": float(len(rows)),
        "left_out_mape_percent": round(100 * float(np.abs(errors).mean()), 3),
    }


def _solve(rows: np.ndarray, measured_ms: np.ndarray) -> np.ndarray:
    """Coefficients under Huber's loss on relative errors, in which disturbed measurements have little influence.

    sklearn's HuberRegressor doesn't fit, since its coefficients may be negative.
    """
    sizes = np.maximum(rows.max(0), 1e-12)  # columns of one size are better conditioned
    relative = rows / sizes / measured_ms[:, None]
    fitted = least_squares(
        lambda coefficients: relative @ coefficients - 1.0,
        np.ones(rows.shape[1]),
        jac=lambda coefficients: relative,
        bounds=(0.0, np.inf),
        loss="huber",
        f_scale=HUBER_SCALE,
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    return np.where(fitted.active_mask < 0, 0.0, fitted.x) / sizes  # at an active bound x is only close to 0


def _timed(rounds_ms: list[float]) -> LayerTime:
    low, middle, high = np.quantile(rounds_ms, [0.25, 0.5, 0.75])
    return LayerTime(float(middle), float(high - low) / 2)


def estimates(unmeasured: list[LayerKey], known: dict[LayerKey, LayerTime]) -> dict[LayerKey, LayerTime]:
    """Times of unmeasured layers, by gradient-boosted trees fitted to those of `known`.

    Their spread is half the interquartile range of the cross-validation errors.
    """
    if not unmeasured:
        return {}
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import cross_val_predict

    ops = sorted({op for op, _, _ in [*known, *unmeasured]})
    x, log_ms = _features([*known], ops), np.log([timed.ms for timed in known.values()])
    trees = HistGradientBoostingRegressor(min_samples_leaf=5, random_state=0)
    errors = log_ms - cross_val_predict(trees, x, log_ms, cv=FOLDS)
    low, high = np.quantile(errors, [0.25, 0.75])
    predicted_ms = np.exp(trees.fit(x, log_ms).predict(_features(unmeasured, ops)))
    return {
        key: LayerTime(float(ms), float(ms * (high - low) / 2), True)
        for key, ms in zip(unmeasured, predicted_ms, strict=True)
    }


def _features(keys: list[LayerKey], ops: list[str]) -> np.ndarray:
    rows = []
    for op, shapes, attrs in keys:
        known = dict(attrs)
        out = OPS[op].out_shape(list(shapes), **known)
        counts = count_layer(op, shapes[0], out, known)
        numbers = [math.prod(shapes[0]), math.prod(out), counts.macs, counts.params, shapes[0][0], out[0]]
        kinds = [known.get("kernel", 0), known.get("stride", 0), known.get("expand", 0), known.get("se", False)]
        rows.append([ops.index(op), *np.log1p(numbers), *kinds, known.get("act") == "hswish"])
    return np.array(rows, dtype=float)
