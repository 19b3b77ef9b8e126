"""The picture of accuracy-cost frontiers of one network, one line a method."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: it runs where there is no screen

import numpy as np
from matplotlib import pyplot as plt

from aebnas.files import write_atomically
from aebnas.report.trajectories import COLOURS

MARKERS = "o^svDP*X<>"

Curve = tuple[Sequence[float] | Any, Sequence[float] | Any]
"""Costs and accuracies of points, in any order."""


def plot_frontiers(
    curves: Mapping[str, Curve],
    marks: Mapping[str, tuple[float, float]],
    title: str,
    path: Path,
    unit: str = "average MACs of a sample, in millions",
    scale: float = 1e6,
) -> None:
    """Write a picture of accuracy over cost (divided by `scale`); `marks` are single points with names."""
    figure, panel = plt.subplots(figsize=(8.5, 5.5), layout="constrained")
    for number, (name, (costs, accuracies)) in enumerate(curves.items()):
        order = np.argsort(np.asarray(costs, float), kind="stable")
        x, y = np.asarray(costs, float)[order] / scale, 100 * np.asarray(accuracies, float)[order]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        panel.plot(x, y, linewidth=1.3, markersize=3, label=name, color=colour, marker=marker)
    for number, (name, (cost, accuracy)) in enumerate(marks.items()):
        panel.scatter(cost / scale, 100 * accuracy, s=90, marker="*X"[number % 2], color="black", label=name, zorder=5)
    panel.set_xlabel(unit)
    panel.set_ylabel("accuracy, %")
    panel.set_title(title)
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right", fontsize="small")

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=130, metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)
