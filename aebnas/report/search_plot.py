"""The plot of a search: all operating points in grey, the front in colour."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # before pyplot, since there may be no display

from matplotlib import pyplot as plt

from aebnas.core.atomic_files import write_atomically
from aebnas.core.metrics import METRICS
from aebnas.report.front_plot import axis_scale
from aebnas.report.palette import BLUE, GREY
from aebnas.report.trial_digest import TrialDigest
from aebnas.run.run_facts import RunFacts

FRONT_COLOUR = BLUE


def plot_front(facts: RunFacts, digest: TrialDigest) -> None:
    """Write `pareto.png`: all operating points and the front over two objectives (see `shown_axes`)."""
    y, x, points = digest.vertical, digest.horizontal, digest.front
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    scale_x, label_x = axis_scale(x)
    scale_y, label_y = axis_scale(y)
    panel.scatter(
        np.array(digest.x) * scale_x,
        np.array(digest.y) * scale_y,
        s=8,
        color=GREY,
        linewidths=0,
        label=f"all {digest.points_total:,} operating points of {digest.counts.total:,} trials",
    )
    ordered = sorted((point.metrics for _, point in points), key=lambda metrics: metrics[x])
    panel.plot(
        [m[x] * scale_x for m in ordered],
        [m[y] * scale_y for m in ordered],
        marker="o",
        markersize=4,
        linewidth=1.2,
        drawstyle="steps-post",
        color=FRONT_COLOUR,
        label=f"front, {len(points)} points",
    )
    if METRICS[y].unit == "fraction" and ordered:
        # without this limit a few points of very low accuracy would compress the front into a line
        low = min(m[y] for m in ordered) * scale_y
        panel.set_ylim(bottom=max(0.0, low - 15))
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.xaxis.set_minor_formatter(lambda value, _: f"{value:g}")
    panel.tick_params(axis="x", which="minor", labelsize=7)
    panel.set_xlabel(label_x)
    panel.set_ylabel(label_y)
    panel.set_title(f"{facts.name}: search split (N = {facts.samples:,})", parse_math=False)
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right")
    path = facts.folder / "pareto.png"

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=130, metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)
