"""Latency learned from pairs of (features, latency), for devices with whole-network latencies only.

A Gaussian process on the logarithm of the latency with a linear kernel and, where it reduces the cross-validation loss,
an RBF kernel in addition. Measurements are sometimes disturbed, so outliers are down-weighted. Where latencies of the
same networks on other devices are known and reduce the cross-validation loss, a ridge regression on their logarithms
comes first, and the process learns its residuals: fewer samples suffice then.

Legend: n samples, f features, d other devices.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from aebnas.cost.counts import count_layer
from aebnas.runtime.graph import Graph
from aebnas.runtime.shape_rules import mid_channels

TOLERANCE = 0.1
"""Scale of the loss by which hyperparameters are selected: it saturates for larger relative errors."""
DISTURBED = 0.2
"""A sample with this relative error has a quarter of the full weight."""
FOLDS = 5
ROUNDS = 2
SMOOTH = (None, 1.0, 3.0)
"""Length scales of the RBF kernel, in units of the typical distance of two samples; None omits the kernel."""
NOISE = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
"""Variance of a measurement, in units of the latencies' variance."""
RIDGES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
MIN_SAMPLES = 2 * FOLDS


class Predicted(NamedTuple):
    """Latency `[n]`, and a range that should cover about 95 % of measurements."""

    latency_ms: np.ndarray
    low_ms: np.ndarray
    high_ms: np.ndarray


@dataclass(frozen=True)
class _Choice:
    """Hyperparameters: the RBF kernel's length scale, and the noise."""

    smooth: float | None
    noise: float

    def kernel(self, features: int) -> Kernel:
        linear = ConstantKernel(1.0 / features) * DotProduct(1.0)
        if self.smooth is None:
            return linear
        return linear + ConstantKernel(1.0) * RBF(self.smooth * math.sqrt(2 * features))


class LatencyPredictor:
    """Predicts latency from features; `fit` must be called first."""

    def fit(self, x_nf: np.ndarray, latency_ms: np.ndarray, others_nd: np.ndarray | None = None) -> "LatencyPredictor":
        """Fit to features and latencies; `others_nd` are the same networks' latencies on d other devices.

        Raises ValueError for fewer than `MIN_SAMPLES` samples, or values that aren't finite or, of latencies, positive.
        """
        x_nf, y = np.asarray(x_nf, dtype=float), np.asarray(latency_ms, dtype=float)
        if len(y) < MIN_SAMPLES or len(x_nf) != len(y):
            raise ValueError(f"samples must be at least {MIN_SAMPLES}, as many as latencies, but got {len(x_nf)}")
        if not (np.isfinite(x_nf).all() and np.isfinite(y).all() and (y > 0).all()):
            raise ValueError("features must be finite and latencies positive")
        self._scaler, log_ms = StandardScaler().fit(x_nf), np.log(y)
        scaled = self._scaler.transform(x_nf)
        best = _tune(scaled, log_ms)
        self._others, self._prior = others_nd is not None, None
        if others_nd is not None:
            log_others = np.log(np.asarray(others_nd, dtype=float))
            left_out = cross_val_predict(_ridge(), log_others, log_ms, cv=KFold(FOLDS, shuffle=True, random_state=0))
            helped = _tune(scaled, log_ms - left_out)
            if helped.loss < best.loss:
                best, self._prior = helped, _ridge().fit(log_others, log_ms)
                log_ms = log_ms - self._prior.predict(log_others)
        self.choice, self._middle, self._spread = best.choice, best.middle, best.spread
        target = (log_ms - self._middle) / self._spread
        self._process = _process(self.choice, scaled, target, _robust_weights(best.log_errors))
        self._low, self._high = np.quantile(best.log_errors, [0.025, 0.975])
        return self

    @property
    def left_out_range(self) -> tuple[float, float]:
        """The range of 95 % of samples in cross-validation, as factors of the prediction."""
        return float(np.exp(self._low)), float(np.exp(self._high))

    def predict(self, x_nf: np.ndarray, others_nd: np.ndarray | None = None) -> np.ndarray:
        """Latency in ms, `[n]`."""
        scaled, before = self._scaler.transform(x_nf), self._before(others_nd, len(x_nf))
        return np.exp(before + self._middle + self._spread * self._process.predict(scaled))

    def predict_range(self, x_nf: np.ndarray, others_nd: np.ndarray | None = None) -> Predicted:
        """Latency and the range of measurements, from cross-validation errors and the process's uncertainty, which is
        larger for networks unlike those of the fit."""
        scaled, before = self._scaler.transform(x_nf), self._before(others_nd, len(x_nf))
        mean, std = self._process.predict(scaled, return_std=True)
        log_ms, half = before + self._middle + self._spread * mean, 1.96 * self._spread * std
        return Predicted(
            np.exp(log_ms),
            np.exp(log_ms - np.hypot(self._low, half)),
            np.exp(log_ms + np.hypot(self._high, half)),
        )

    def _before(self, others_nd: np.ndarray | None, samples: int) -> np.ndarray:
        """The part of the logarithm that follows from other devices' latencies, `[n]`.

        Raises ValueError where the fit had other devices and the prediction has none, or the reverse.
        """
        if self._others != (others_nd is not None):
            raise ValueError("latencies of other devices must be given to both fit and prediction, or to neither")
        if self._prior is None or others_nd is None:
            return np.zeros(samples)
        return self._prior.predict(np.log(np.asarray(others_nd, dtype=float)))


class _Tuned(NamedTuple):
    """Hyperparameters for a target, its median and scale, and the errors and loss in cross-validation."""

    loss: float
    choice: _Choice
    middle: float
    spread: float
    log_errors: np.ndarray


def _tune(x: np.ndarray, log_ms: np.ndarray) -> _Tuned:
    """Select hyperparameters with robust weights of samples, which follow from their errors."""
    middle, spread = float(np.median(log_ms)), max(float(log_ms.std()), 1e-6)
    target, weights = (log_ms - middle) / spread, np.ones(len(log_ms))
    for _ in range(ROUNDS):
        loss, choice, errors = _choose(x, target, weights, TOLERANCE / spread)
        weights = _robust_weights(errors * spread)
    return _Tuned(loss, choice, middle, spread, errors * spread)


def _ridge() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(RIDGES))


def _process(choice: _Choice, x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> GaussianProcessRegressor:
    kernel = choice.kernel(x.shape[1])
    return GaussianProcessRegressor(kernel, alpha=choice.noise / weights, optimizer=None).fit(x, y)


def _choose(x: np.ndarray, y: np.ndarray, weights: np.ndarray, tolerance: float) -> tuple[float, _Choice, np.ndarray]:
    """The minimum cross-validation loss, its hyperparameters, and the errors of left-out samples under them.

    scikit-learn's GridSearchCV isn't used: its processes accept no weights of samples, and a wrapper that does takes 6
    to 40 times as long, since here a kernel is computed once for all folds and noises.
    """
    folds = np.random.default_rng(0).permutation(len(y)) % FOLDS
    best: tuple[float, _Choice, np.ndarray] | None = None
    for smooth in SMOOTH:
        kernel_nn = _Choice(smooth, 0.0).kernel(x.shape[1])(x)
        for noise in NOISE:
            errors = np.empty(len(y))
            for fold in range(FOLDS):
                out, fitted = folds == fold, folds != fold
                noisy = kernel_nn[np.ix_(fitted, fitted)] + np.diag(noise / weights[fitted])
                errors[out] = y[out] - kernel_nn[np.ix_(out, fitted)] @ np.linalg.solve(noisy, y[fitted])
            ratio = (errors / tolerance) ** 2
            loss = float((ratio / (1 + ratio)).mean())  # Geman and McClure's, which saturates
            if best is None or loss < best[0]:
                best = loss, _Choice(smooth, noise), errors
    assert best is not None
    return best


def _robust_weights(log_errors: np.ndarray) -> np.ndarray:
    """Weights of samples under Geman and McClure's loss."""
    return np.maximum(1.0 / (1.0 + (log_errors / DISTURBED) ** 2) ** 2, 1e-3)


def graph_features(graph: Graph) -> dict[str, float]:
    """Features of a network for `feature_matrix`: counts of work, data and layers, in total and by stage."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        place, attrs = node.weights.split("_")[0], node.kwargs
        in_shape, out = graph.shapes[node.inputs[0]], graph.shapes[node.name]
        counts = count_layer(node.op, in_shape, out, attrs)
        expand = attrs.get("expand", 0)
        mid = mid_channels(in_shape[0], expand) if expand else 0
        elements = math.prod(in_shape) + math.prod(out) + mid * (in_shape[1] * in_shape[2] + out[1] * out[2])
        numbers = {"nodes": 1, "macs": counts.macs, "elements": elements, "params": counts.params}
        numbers |= {f"{node.op}": 1, f"kernel{attrs.get('kernel', 0)}": 1, f"expand{expand:g}": 1}
        numbers["window"] = (mid or in_shape[0]) * attrs.get("kernel", 0) ** 2 * out[1] * out[2]
        for name, value in numbers.items():
            found[f"{place}.{name}"] += value
            found[name] += value
    found["exits"] = len(graph.exits)
    found["pixels"] = graph.input_shape[1] * graph.input_shape[2]
    logs = {f"log {name}": math.log(found[name]) for name in ("macs", "elements", "params", "nodes", "pixels")}
    return dict(found) | logs


def feature_matrix(rows: Sequence[Mapping[str, float]], names: Sequence[str] | None = None) -> np.ndarray:
    """Rows of features as `[n, f]`, columns sorted by name (or those of `names`); features that a row lacks are 0."""
    columns = sorted({name for row in rows for name in row}) if names is None else names
    return np.array([[float(row.get(name, 0.0)) for name in columns] for row in rows]).reshape(len(rows), len(columns))
