"""Reliability diagrams: accuracy over confidence, of every exit and of the policy's predictions.

Legend: b bins.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot, since there may be no display

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from aebnas.core.atomic_files import write_atomically
from aebnas.policies.calibration.reliability import Reliability
from aebnas.report.palette import BLUE, GREY, ORANGE

BEFORE, AFTER = ORANGE, BLUE
COLUMNS = 4

Pair = tuple[Reliability, Reliability]
"""Before temperatures, and under them."""


def plot_reliability(exits: Sequence[Pair], overall: Pair, path: Path) -> None:
    """Plot a panel per exit over all samples, and one for the predictions under the policy (Guo et al. 2017)."""
    panels = [*((f"exit {number}", pair) for number, pair in enumerate(exits, start=1)), ("under the policy", overall)]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 3.2 * rows), layout="constrained", squeeze=False)
    for panel in axes.flat[len(panels) :]:
        panel.axis("off")
    for panel, (title, (before, after)) in zip(axes.flat, panels, strict=False):
        _panel(panel, title, before, after)
    axes[0, 0].legend(loc="upper left", fontsize="small")
    for panel in axes[:, 0]:
        panel.set_ylabel("accuracy")
    for panel in axes[-1]:
        panel.set_xlabel("confidence")

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=120, metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)


def _panel(panel: Axes, title: str, before: Reliability, after: Reliability) -> None:
    panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=0)
    for name, colour, found in (("before", BEFORE, before), ("with temperature", AFTER, after)):
        shown = found.count_b > 0
        sizes = 8 + 80 * found.count_b[shown] / found.count_b.sum()
        panel.plot(found.confidence_b[shown], found.accuracy_b[shown], color=colour, linewidth=1.2, label=name)
        panel.scatter(found.confidence_b[shown], found.accuracy_b[shown], s=sizes, color=colour)
    panel.set_title(f"{title}\nECE {before.ece:.3f} -> {after.ece:.3f}", fontsize="medium")
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1.02)
    panel.grid(alpha=0.3)
