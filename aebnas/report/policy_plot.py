"""The plot of accuracy-cost frontiers of one network, one line per method."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot, since there may be no display

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from aebnas.core.atomic_files import write_atomically
from aebnas.report.palette import COLOURS

MARKERS = "o^svDP*X<>"
DASHES = ("-", "--", ":")

Curve = tuple[Sequence[float] | Any, Sequence[float] | Any]
"""Costs and accuracies of points, in any order."""


def plot_frontiers(
    curves: Mapping[str, Curve],
    marks: Mapping[str, tuple[float, float]],
    title: str,
    path: Path,
    unit: str = "average MACs per sample, in millions",
    scale: float = 1e6,
    zoom: float | None = None,
    accuracy: str = "accuracy",
) -> None:
    """Plot `accuracy` over cost (divided by `scale`); `marks` maps names to single points.

    With `zoom` a second panel shows the points whose accuracy is at most `zoom` below the maximum.
    """
    panels = 1 if zoom is None else 2
    figure, axes = plt.subplots(1, panels, figsize=(8.5 * panels**0.6, 5.5), layout="constrained", squeeze=False)
    for panel in axes[0]:
        _draw(panel, curves, marks, scale)
        panel.set_xlabel(unit)
        panel.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"{accuracy}, %")
    axes[0, 0].legend(loc="lower right", fontsize="small")
    figure.suptitle(title)
    if zoom is not None:
        _zoom(axes[0, 1], curves, zoom, scale)

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=130, metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)


def _zoom(panel: Axes, curves: Mapping[str, Curve], zoom: float, scale: float) -> None:
    costs = np.concatenate([np.asarray(curve[0], float) for curve in curves.values()]) / scale
    accuracies = np.concatenate([np.asarray(curve[1], float) for curve in curves.values()])
    near = accuracies > accuracies.max() - zoom
    panel.set_xlim(0.98 * costs[near].min(), 1.02 * costs[near].max())
    panel.set_ylim(100 * (accuracies.max() - zoom), 100 * accuracies.max() + 5 * zoom)


def _draw(panel: Axes, curves: Mapping[str, Curve], marks: Mapping[str, tuple[float, float]], scale: float) -> None:
    for number, (name, (costs, accuracies)) in enumerate(curves.items()):
        order = np.argsort(np.asarray(costs, float), kind="stable")
        x, y = np.asarray(costs, float)[order] / scale, 100 * np.asarray(accuracies, float)[order]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        dashes = DASHES[number // len(COLOURS) % len(DASHES)]
        panel.plot(x, y, dashes, linewidth=1.3, markersize=3, label=name, color=colour, marker=marker)
    for number, (name, (cost, accuracy)) in enumerate(marks.items()):
        panel.scatter(cost / scale, 100 * accuracy, s=90, marker="*X"[number % 2], color="black", label=name, zorder=5)
